"""Gladia: the audio is uploaded, a job started on it, asked after, and deleted together with the upload.

Source: gladiaio-sdk 2.2.0 (`v2/prerecorded`), docs.gladia.io "Pre-recorded" and "Translation" (2026-04), an OpenAPI
document of api.gladia.io (2026-06). A job that runs cannot be deleted (403): it is when it is over.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, Field, FiniteFloat

from providers.authorize import key_header
from providers.bodies import json_post, multipart
from providers.errors import JobUnsupported, MalformedReply, ProviderUnavailable, QuotaExhausted
from providers.jobs import Job, Jobs
from providers.languages import code_of
from providers.polling import Url, parse
from providers.provider import Provider, ProviderOptions, options_for, succeeded
from providers.refusals import by_reply
from providers.spans import Speaker, segment, word
from providers.types import Capabilities, Container, Segment, Task, Timestamps, Transcript, Word

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.errors import ProviderError
    from providers.exchange import Exchange, HttpReply
    from providers.types import Audio, Deployment, TranscriptionJob

NAME = "gladia"
_Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]


class GladiaOptions(ProviderOptions):
    """What a caller may set besides."""

    custom_vocabulary: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        default=None, min_length=1, max_length=1000
    )
    languages: list[_Language] | None = Field(default=None, min_length=1, max_length=100)  # among which to detect
    code_switching: bool | None = None
    number_of_speakers: int | None = Field(default=None, ge=1, le=50)
    min_speakers: int | None = Field(default=None, ge=1, le=50)
    max_speakers: int | None = Field(default=None, ge=1, le=50)
    punctuation_enhanced: bool | None = None


# --- what its models can do

_SPEAKERS: Final = frozenset({"number_of_speakers", "min_speakers", "max_speakers"})
MODELS: Final = ("solaria-1", "solaria-3", "solaria-fusion")
_CAPABILITIES: Final = Capabilities(
    timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
    tasks=frozenset(Task),
    diarize=True,
    options=frozenset(GladiaOptions.model_fields),
    speaker_options=_SPEAKERS,
    containers=frozenset(
        {
            Container.AAC,
            Container.FLAC,
            Container.MP3,
            Container.MP4,
            Container.OGG,
            Container.WAV,
            Container.WEBM,
        }
    ),
    max_bytes=1_000_000_000,  # documented as 1000 MB
    max_duration_s=135 * 60.0,
)

# --- what is sent


def transcribe(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
    """Upload, start, ask until it is over, read."""
    api = to.account.base_urls["api"]
    jobs = f"{api}/v2/pre-recorded"
    audio_url = yield from _upload(job.audio, f"{api}/v2/upload")
    create = json_post(jobs, {"audio_url": audio_url, **build_fields(job, to)})
    _, done = yield from _JOBS.run(create, jobs)
    return read(done, job)


class _Uploaded(BaseModel):
    audio_url: Url


def _upload(audio: Audio, url: str) -> Exchange[str]:
    """Upload the audio; return what a job names it by. It is deleted with the job."""
    reply = succeeded((yield multipart(url, (), audio, part="audio")), classify_error)
    return parse(NAME, _Uploaded, reply).audio_url


def build_fields(job: TranscriptionJob, to: Deployment) -> dict[str, object]:
    """Return the job, without the audio."""
    options = options_for(job, NAME, _CAPABILITIES)
    fields: dict[str, object] = {"model": to.native_model}
    if language := _language_config(job, options):
        fields["language_config"] = language
    if job.diarize:
        fields["diarization"] = True
    if bounds := {name: options.pop(name) for name in sorted(_SPEAKERS & options.keys())}:
        fields["diarization_config"] = bounds
    if terms := options.pop("custom_vocabulary", None):
        fields |= {"custom_vocabulary": True, "custom_vocabulary_config": {"vocabulary": terms}}
    if job.task is Task.TRANSLATE:
        into = {"target_languages": ["en"], "match_original_utterances": True}
        fields |= {"translation": True, "translation_config": into}
    return fields | options


def _language_config(job: TranscriptionJob, options: dict[str, object]) -> Mapping[str, object]:
    """Return one language, or among which to detect it, again in each utterance where they are mixed."""
    among = options.pop("languages", None)
    switching = options.pop("code_switching", None)
    if job.language:
        return {"languages": [code_of(job.language) or job.language]}
    told = {"languages": among, "code_switching": switching}
    return {name: value for name, value in told.items() if value is not None}


# --- what comes back


class _Word(BaseModel):
    word: str
    start: FiniteFloat
    end: FiniteFloat
    confidence: FiniteFloat | None = None


class _Utterance(BaseModel):
    text: str
    start: FiniteFloat
    end: FiniteFloat
    speaker: Speaker = None
    words: list[_Word] = []


class _Said(BaseModel):
    full_transcript: str
    languages: list[str] = []
    utterances: list[_Utterance]


class _Translation(BaseModel):
    results: list[_Said] | None = None


class _Metadata(BaseModel):
    audio_duration: FiniteFloat | None = None


class _Result(BaseModel):
    metadata: _Metadata | None = None
    transcription: _Said
    translation: _Translation | None = None


class _Done(Job):
    status: Literal["queued", "processing", "done", "error"]
    id: str
    request_id: str | None = None
    error_code: int | None = None
    result: _Result | None = None


def read(done: _Done, job: TranscriptionJob) -> Transcript:
    """Read a job that is over. Raises ProviderError: a failed one comes with a 200 like any other."""
    if done.status == "error":
        raise _failure(done.error_code)
    if done.result is None:
        raise MalformedReply(NAME, "a job that is done without a result")
    said = _translated(done.result) if job.task is Task.TRANSLATE else done.result.transcription
    times = job.timestamps is not Timestamps.NONE or job.diarize
    return Transcript(
        text=said.full_transcript.strip(),
        segments=tuple(_segment(each, job) for each in said.utterances) if times else (),
        words=_words(said, job) if job.timestamps is Timestamps.WORD else (),
        language=next(filter(None, map(code_of, done.result.transcription.languages)), None),
        duration_s=done.result.metadata.audio_duration if done.result.metadata else None,
        request_id=done.request_id or done.id,
    )


def _translated(result: _Result) -> _Said:
    """Return the translation. Raises JobUnsupported: what was said is known, but not in English."""
    if result.translation is None or not result.translation.results:
        raise JobUnsupported(NAME, "it could not translate this")
    return result.translation.results[0]


def _segment(each: _Utterance, job: TranscriptionJob) -> Segment:
    return segment(each.text.strip(), each.start, each.end, _speaker(each, job))


def _words(said: _Said, job: TranscriptionJob) -> tuple[Word, ...]:
    return tuple(
        word(each.word, each.start, each.end, speaker=_speaker(utterance, job), confidence=each.confidence)
        for utterance in said.utterances
        for each in utterance.words
    )


def _speaker(each: _Utterance, job: TranscriptionJob) -> str | None:
    return each.speaker if job.diarize else None


# --- what went wrong


def _failure(code: int | None) -> ProviderError:
    """Name what a failed job says: a status as of HTTP, and nothing besides."""
    if code is not None and (code >= 500 or code == HTTPStatus.TOO_MANY_REQUESTS):
        return ProviderUnavailable(NAME, f"it failed there with code {code}")
    return JobUnsupported(NAME, "it could not transcribe this audio")


_LIMITED: Final = re.compile(r"quota|plan\b|limit|exceed|hours", re.IGNORECASE)


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx. A 403 may be about the plan, and no fault of the key."""
    if reply.status == HTTPStatus.FORBIDDEN and _LIMITED.search(reply.said):
        return QuotaExhausted(NAME, "the plan allows no more")
    return by_reply(NAME, reply)


_JOBS: Final = Jobs(
    provider=NAME,
    job=_Done,
    classify_error=classify_error,
    kept=frozenset({HTTPStatus.FORBIDDEN}),
)

GLADIA = Provider(
    name=NAME,
    base_urls={"api": "https://api.gladia.io"},
    key_variable="GLADIA_API_KEY",
    authorize=key_header("x-gladia-key"),
    capabilities=lambda _: _CAPABILITIES,
    transcribe=transcribe,
    options=GladiaOptions,
)
