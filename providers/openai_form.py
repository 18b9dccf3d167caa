"""The form of OpenAI's audio API, which a dozen services took over, each with slips of its own.

Source: openai 3.54.0 (`types/audio`, `_base_client.py`), openai-openapi 2.3.0 (2026-08-21); the slips: speaches
(2026-03-26), vLLM, whisper.cpp and LocalAI (2026-08-22), Groq, Together and DeepInfra as their documents show them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec.structs import replace
from pydantic import AliasChoices, BaseModel, Field, FiniteFloat, ValidationError

from providers import provider
from providers.bodies import multipart
from providers.errors import JobRejected, JobUnsupported, MalformedReply, QuotaExhausted
from providers.languages import code_of
from providers.refusals import by_reply
from providers.retry_after import spent_for_s
from providers.spans import Speaker, segment, word
from providers.types import NO_GENERATION, Capabilities, Container, Task, Timestamps, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from providers.errors import ProviderError
    from providers.exchange import Exchange, HttpReply, HttpRequest
    from providers.provider import Translate
    from providers.types import Deployment, TranscriptionJob

FORM_BYTES: Final = 64 * 1024
"""What is kept free where a limit is the whole body's: room for the text parts, of which a prompt is the longest."""

PLAIN: Final = Capabilities(
    generation=frozenset({"temperature"}),
    prompt=True,
    containers=frozenset({Container.FLAC, Container.MP3, Container.MP4, Container.OGG, Container.WAV, Container.WEBM}),
)
"""What every model behind the form can do."""
WHISPER: Final = replace(
    PLAIN,
    timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
    tasks=frozenset(Task),
    translation_hint=False,
)
"""What Whisper can do behind it."""


def one_call(
    name: str,
    capabilities: Callable[[Deployment], Capabilities],
    *,
    build: Callable[[TranscriptionJob, Deployment], HttpRequest] | None = None,
    parse: Callable[[HttpReply], Transcript] | None = None,
    classify: Callable[[HttpReply], ProviderError] | None = None,
) -> Translate:
    """Make the exchange of a service that takes the form as it is. build, parse, classify: where it differs there."""

    def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
        return request(name, job, to, capabilities(to))

    call = provider.one_call(
        build or build_request, parse or partial(parse_reply, name), classify or partial(classify_error, name)
    )
    return within_limits(name, call)


def within_limits(name: str, call: Translate) -> Translate:
    """Refuse what OpenAI and its like would refuse only after the upload, or answer with less than was asked."""

    def transcribe(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
        if (job.generation.temperature or 0) > 1:
            raise JobUnsupported(name, "a temperature above 1 is refused there")
        provider.check_times(job, name)
        return (yield from call(job, to))

    return transcribe


# --- what is sent


def url(job: TranscriptionJob, to: Deployment, host: str = "api") -> str:
    """Return where the job goes: translation is a route of its own. host: which of the account's addresses."""
    route = "translations" if job.task is Task.TRANSLATE else "transcriptions"
    return f"{to.account.base_urls[host]}/audio/{route}"


def request(name: str, job: TranscriptionJob, to: Deployment, can: Capabilities) -> HttpRequest:
    """Build the form: OpenAI's text parts, the caller's options, and the file last."""
    options = option_fields(provider.options_for(job, name, can))
    return multipart(url(job, to), [*fields(honoured(job, can), to), *options], job.audio)


def honoured(job: TranscriptionJob, can: Capabilities) -> TranscriptionJob:
    """Return the job without what its model has no field for: asking would be a 400."""
    return replace(
        job,
        language=job.language if can.language_hint else None,
        generation=job.generation if can.generation else NO_GENERATION,
        prompt=job.prompt if can.prompt else None,
        timestamps=job.timestamps if job.timestamps in can.timestamps else Timestamps.NONE,
    )


def timed(job: TranscriptionJob) -> TranscriptionJob:
    """Return the job with times at least of segments, without which a service tells no speakers."""
    return replace(job, timestamps=Timestamps.SEGMENT) if job.timestamps is Timestamps.NONE else job


def fields(
    job: TranscriptionJob,
    to: Deployment,
    *,
    timed: str = "verbose_json",
    granularities: str | None = "timestamp_granularities[]",
) -> list[tuple[str, str]]:
    """Return the form's text parts. A reply with times is asked for where they are wanted only.

    timed: the response format that has times. granularities: the name of that part, or None where there is none;
    a translation has none and no language.
    """
    with_times = job.timestamps is not Timestamps.NONE
    form = [("model", to.native_model), ("response_format", timed if with_times else "json")]
    if job.language and job.task is Task.TRANSCRIBE:
        form.append(("language", language(job.language)))
    if job.prompt:
        form.append(("prompt", job.prompt))
    if job.generation.temperature is not None:
        form.append(("temperature", text_of(job.generation.temperature)))
    if granularities and job.task is Task.TRANSCRIBE:
        form += [(granularities, level) for level in _LEVELS[job.timestamps]]
    return form


# Segments come free beside words, and whoever wants verbose_json or subtitles with words needs them.
_LEVELS: Final = {Timestamps.NONE: (), Timestamps.SEGMENT: ("segment",), Timestamps.WORD: ("segment", "word")}


def option_fields(values: Mapping[str, object]) -> list[tuple[str, str]]:
    """Write options as OpenAI's SDK does: a list as repeated `name[]`, an object as `name[key]`."""
    form: list[tuple[str, str]] = []
    for name, value in values.items():
        match value:
            case list():
                form += [(f"{name}[]", text_of(each)) for each in value]
            case dict():
                form += [(f"{name}[{key}]", text_of(each)) for key, each in value.items()]
            case _:
                form.append((name, text_of(value)))
    return form


def repeated(values: Mapping[str, object]) -> list[tuple[str, str]]:
    """Write fields as services with a form or a query of their own do: a list as its name repeated."""
    return [
        (name, text_of(each))
        for name, value in values.items()
        for each in (value if isinstance(value, list) else [value])
    ]


def text_of(value: object) -> str:
    """Return a form part's text: booleans as JSON writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def language(code: str) -> str:
    """Return the two-letter code these services know; the caller's own where it is none of Whisper's."""
    return code_of(code) or code


# --- what comes back

Seconds: TypeAlias = FiniteFloat | None  # vLLM writes them as strings
_SPEAKER: Final = AliasChoices("speaker", "speaker_id", "speaker_label")


class ReplyWord(BaseModel):
    """A word as it was sent, with the space around it."""

    text: str = Field(validation_alias=AliasChoices("word", "text"))
    start: Seconds = None
    end: Seconds = None
    speaker: Speaker = Field(default=None, validation_alias=_SPEAKER)
    probability: Seconds = Field(default=None, validation_alias=AliasChoices("probability", "confidence"))
    type: str | None = None


class ReplySegment(BaseModel):
    """A segment as it was sent; whisper.cpp and LocalAI put the words in here."""

    text: str
    start: Seconds = None
    end: Seconds = None
    speaker: Speaker = Field(default=None, validation_alias=_SPEAKER)
    words: list[ReplyWord] | None = None


class _Language(BaseModel):
    code: str


class Reply(BaseModel):
    """A 200 of json, verbose_json or diarized_json: only the fields we read, and null in any of them but text."""

    text: str = Field(validation_alias=AliasChoices("text", "transcript"))  # OVHcloud has been seen to say transcript
    language: str | None = None  # "en" or "english"
    languages: list[_Language] | None = None  # gpt-transcribe
    duration: Seconds = Field(default=None, validation_alias=AliasChoices("duration", "seconds"))  # OVHcloud's
    segments: list[ReplySegment] | None = None
    words: list[ReplyWord] | None = None


def parse_reply(name: str, reply: HttpReply) -> Transcript:
    """Read a 200 reply. Raises MalformedReply, and nothing else."""
    return transcript(read_reply(name, reply), reply)


def read_reply(name: str, reply: HttpReply) -> Reply:
    """Check a 200 reply's shape. Raises MalformedReply."""
    try:
        return Reply.model_validate_json(reply.body)
    except ValidationError as error:
        raise MalformedReply(name, "a 200 without a transcription's JSON") from error


def transcript(heard: Reply, reply: HttpReply) -> Transcript:
    """Return what was heard. Words inside segments count where there are none at the top."""
    segments = heard.segments or []
    words = heard.words or [each for span in segments for each in span.words or ()]
    named = heard.language or next((each.code for each in heard.languages or ()), None)
    return Transcript(
        text=heard.text.strip(),
        segments=tuple(segment(each.text, each.start, each.end, each.speaker) for each in segments),
        words=tuple(
            word(each.text, each.start, each.end, speaker=each.speaker, confidence=each.probability)
            for each in words
            if each.text.strip()
        ),
        language=code_of(named) if named else None,
        duration_s=heard.duration if heard.duration is not None and heard.duration >= 0 else None,
        request_id=reply.headers.get("x-request-id"),
        spent_for_s=spent_for_s(reply),
    )


# --- what went wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiError:
    """What an error reply says of itself; "" where it does not. For deciding by, never for showing."""

    message: str = ""
    type: str = ""
    code: str = ""


_CAUSES: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), error, reason)
    for pattern, error, reason in (
        ("insufficient_quota|billing_hard_limit|billing_not_active", QuotaExhausted, "the account is out of credit"),
        ("audio_too_short|audio file is too short", JobRejected, "the audio is too short to hear anything in"),
        ("audio_too_long|longer than [0-9.]+ seconds", JobUnsupported, "the audio is longer than its model takes"),
        (
            "invalid file format|could not be decoded|corrupted or unsupported",
            JobUnsupported,
            "it cannot read this kind of file",
        ),
        ("model_not_found|not installed locally", JobUnsupported, "it has no such model"),
    )
)


def classify_error(name: str, reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx."""
    given = read_error(reply)
    if 400 <= reply.status < 500 and reply.status not in {401, 403}:
        said = f"{given.code} {given.type} {given.message}"
        for pattern, error, reason in _CAUSES:
            if pattern.search(said):
                return error(name, reason)
    return by_reply(name, reply)


def read_error(reply: HttpReply) -> ApiError:
    """Read `{"error": {...}}`, `{"error": "text"}`, `{"detail": ...}`, the bare object of old vLLM, or any text."""
    try:
        given = json.loads(reply.body)
    except (ValueError, RecursionError):
        return ApiError(message=reply.body[:1000].decode(errors="replace"))
    for key in ("detail", "error"):  # in this order: the one may hold the other
        if isinstance(given, dict) and given.get(key):
            given = given[key]
    if isinstance(given, list):  # FastAPI: one object for each field it refused
        given = next(iter(given), None)
    if not isinstance(given, dict):
        return ApiError(message=given if isinstance(given, str) else "")
    message, kind, code = (_text(given.get(key)) for key in ("message", "type", "code"))
    return ApiError(message=message or _text(given.get("msg")), type=kind, code=code)


def _text(value: object) -> str:
    """Return a string; a numeric code as digits; "" for anything else."""
    return str(value) if isinstance(value, str | int) else ""
