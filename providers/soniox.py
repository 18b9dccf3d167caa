"""Soniox: a file is uploaded, a transcription of it started, asked after, its tokens fetched, and both deleted.

Source: soniox 2.10.0 (`types/api.py`, `api/stt.py`), soniox.com/docs "Async transcription", "Limits", "Errors" (2026).
Nothing there is deleted by itself, and a few thousand are all it keeps: a gateway that forgot would come to a halt.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, Field, FiniteFloat

from providers.authorize import bearer
from providers.bodies import json_post, multipart
from providers.errors import JobUnsupported, ProviderUnavailable, RateLimited
from providers.exchange import Afterwards, HttpRequest
from providers.jobs import Job, Jobs, Made
from providers.languages import code_of
from providers.polling import parse
from providers.provider import Provider, ProviderOptions, check_times, options_for, succeeded
from providers.refusals import by_reply
from providers.retry_after import retry_after_s
from providers.sentences import from_words
from providers.spans import segment, whole, word
from providers.types import Capabilities, Container, Segment, Task, Timestamps, Transcript, Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from providers.errors import ProviderError
    from providers.exchange import Exchange, HttpReply
    from providers.types import Audio, Deployment, TranscriptionJob

NAME = "soniox"


class SonioxOptions(ProviderOptions):
    """What a caller may set besides."""

    terms: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        default=None, min_length=1, max_length=1000
    )
    language_hints: list[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]] | None = Field(
        default=None, min_length=1, max_length=100
    )
    language_hints_strict: bool | None = None


# --- what its models can do

MODELS: Final = ("stt-async-v5", "stt-async-v4")
_CAPABILITIES: Final = Capabilities(
    timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
    tasks=frozenset(Task),
    prompt=True,
    diarize=True,
    options=frozenset(SonioxOptions.model_fields),
    containers=frozenset(
        {
            Container.AAC,
            Container.AIFF,
            Container.AMR,
            Container.ASF,
            Container.FLAC,
            Container.MP3,
            Container.MP4,
            Container.OGG,
            Container.WAV,
            Container.WEBM,
        }
    ),
    max_duration_s=300 * 60.0,
)

# --- what is sent


def transcribe(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
    """Upload, start, ask until it is over, fetch. Raises JobUnsupported: a translation has no words with times."""
    check_times(job, NAME)
    api = to.account.base_urls["api"]
    transcriptions = f"{api}/transcriptions"
    file_id = yield from _upload(job.audio, f"{api}/files")
    create = json_post(transcriptions, {"file_id": file_id, **build_fields(job, to)})
    address, done = yield from _JOBS.run(create, transcriptions)
    if done.status != "completed":
        raise _failure(done)
    heard = parse(NAME, _Heard, (yield from _JOBS.read(f"{address}/transcript")))
    return read(heard, done, job)


def _upload(audio: Audio, files: str) -> Exchange[str]:
    """Upload the audio, ask for its deletion, return its id."""
    made = parse(NAME, Made, succeeded((yield multipart(files, (), audio)), classify_error))
    yield Afterwards(HttpRequest(method="DELETE", url=f"{files}/{made.id}"))
    return made.id


def build_fields(job: TranscriptionJob, to: Deployment) -> dict[str, object]:
    """Return the transcription that is wanted, without the audio."""
    options = options_for(job, NAME, _CAPABILITIES)
    terms = options.pop("terms", None)
    context = {"text": job.prompt or None, "terms": terms}
    fields: dict[str, object] = {
        "model": to.native_model,
        **options,
        **({"language_hints": [code_of(job.language) or job.language]} if job.language else {}),
        "enable_language_identification": True,
    }
    if told := {name: value for name, value in context.items() if value is not None}:
        fields["context"] = told
    if job.diarize:
        fields["enable_speaker_diarization"] = True
    if job.task is Task.TRANSLATE:
        fields["translation"] = {"type": "one_way", "target_language": "en"}
    return fields


# --- what comes back


class _Token(BaseModel):
    """A piece of a word, with the space before it; or of a translation, without times."""

    text: str
    start_ms: FiniteFloat | None = None
    end_ms: FiniteFloat | None = None
    confidence: FiniteFloat | None = None
    speaker: str | None = None
    language: str | None = None
    translation_status: str | None = None  # "original", "translation", or "none" where none was needed

    @property
    def start_s(self) -> float | None:
        return None if self.start_ms is None else self.start_ms / 1000

    @property
    def end_s(self) -> float | None:
        return None if self.end_ms is None else self.end_ms / 1000


class _Heard(BaseModel):
    text: str
    tokens: list[_Token]


class _Done(Job):
    status: Literal["queued", "processing", "completed", "error", "failed"]
    id: str
    model: str | None = None
    audio_duration_ms: FiniteFloat | None = None
    error_type: str | None = None
    error_message: str | None = None


def read(heard: _Heard, done: _Done, job: TranscriptionJob) -> Transcript:
    """Read what a transcription that is completed heard."""
    words: tuple[Word, ...] = ()
    if job.task is Task.TRANSLATE:
        text = "".join(token.text for token in heard.tokens if token.translation_status != "original").strip()
        segments = tuple(_turns(heard.tokens, job))
    else:
        text = heard.text.strip()
        words = whole(_pieces(heard.tokens, job))
        segments = tuple(from_words(words, text))
    return Transcript(
        text=text,
        segments=segments if job.timestamps is not Timestamps.NONE or job.diarize else (),
        words=words if job.timestamps is Timestamps.WORD else (),
        language=_spoken_language(heard.tokens),
        duration_s=None if done.audio_duration_ms is None else done.audio_duration_ms / 1000,
        model_version=done.model,
        request_id=done.id,
    )


def _spoken_language(tokens: Sequence[_Token]) -> str | None:
    spoken = (token.language for token in tokens if token.translation_status != "translation")
    return next(filter(None, map(code_of, filter(None, spoken))), None)


_NO_SPACES: Final = frozenset({"zh", "yue", "ja", "th", "lo", "km", "my"})


def _pieces(tokens: Sequence[_Token], job: TranscriptionJob) -> Iterator[tuple[Word, bool]]:
    """Yield the tokens, and whether each belongs to the word before it."""
    before: _Token | None = None
    for token in tokens:
        if token.text.strip():
            belongs = before is not None and before.speaker == token.speaker and _goes_on(before, token)
            speaker = token.speaker if job.diarize else None
            yield (
                word(token.text, token.start_s, token.end_s, speaker=speaker, confidence=token.confidence),
                belongs,
            )
        before = token


def _goes_on(before: _Token, token: _Token) -> bool:
    """Whether no word begins here: after a space one does, and with each token where nobody writes spaces."""
    if token.text[0].isspace() or before.text[-1:].isspace():
        return False
    return token.language not in _NO_SPACES or not any(map(str.isalnum, token.text))


def _turns(tokens: Sequence[_Token], job: TranscriptionJob) -> Iterator[Segment]:
    """Yield the translation in parts, each in the time of what it translates."""
    times: list[_Token] = []
    for (status, speaker), group in groupby(tokens, lambda each: (each.translation_status, each.speaker)):
        part = list(group)
        if status != "translation":
            times = part
        if status != "original":
            starts = [each.start_s for each in times if each.start_s is not None]
            ends = [each.end_s for each in times if each.end_s is not None]
            yield segment(
                "".join(each.text for each in part).strip(),
                min(starts, default=None),
                max(ends, default=None),
                speaker if job.diarize else None,
            )


# --- what went wrong

_THEIRS: Final = re.compile(r"internal|unavailable|timeout|timed out|overload", re.IGNORECASE)
_FULL: Final = re.compile(r"limit_exceeded|quota|storage", re.IGNORECASE)


def _failure(done: _Done) -> ProviderError:
    """Name what a failed transcription says."""
    if _THEIRS.search(f"{done.error_type} {done.error_message}"):
        return ProviderUnavailable(NAME, "it failed on its side")
    return JobUnsupported(NAME, "it could not transcribe this audio")


class _Error(BaseModel):
    error_type: str = ""


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx. A 400 may also say that no more can be kept there."""
    if reply.status == HTTPStatus.BAD_REQUEST and _FULL.search(_error_type(reply)):
        return RateLimited(NAME, "it keeps no more files or transcriptions", retry_after_s=retry_after_s(reply))
    return by_reply(NAME, reply)


def _error_type(reply: HttpReply) -> str:
    try:
        return _Error.model_validate_json(reply.body).error_type
    except ValueError:
        return ""


_JOBS: Final = Jobs(provider=NAME, job=_Done, classify_error=classify_error, kept=frozenset({HTTPStatus.CONFLICT}))

SONIOX = Provider(
    name=NAME,
    base_urls={"api": "https://api.soniox.com/v1"},
    key_variable="SONIOX_API_KEY",
    authorize=bearer,
    capabilities=lambda _: _CAPABILITIES,
    transcribe=transcribe,
    options=SonioxOptions,
)
