"""AssemblyAI: the audio is uploaded, a transcript of it ordered, asked after, and deleted together with the upload.

Source: assemblyai 1.8.2 (`types.py`, `api.py`), AssemblyAI/assemblyai-api-spec openapi.yml (2026-03-23), its docs
"Delete transcripts", "Translation" and "Account limits" (2026-10). Whether a transcript can be deleted while it is made
is not documented: where that is refused it is deleted afterwards.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final, Literal

from msgspec.structs import replace
from pydantic import BaseModel, Field, FiniteFloat

from providers.authorize import key_header
from providers.bodies import json_post
from providers.errors import JobUnsupported, MalformedReply, ProviderUnavailable, QuotaExhausted
from providers.exchange import HttpRequest
from providers.jobs import Job, Jobs
from providers.languages import code_of
from providers.polling import Url, parse
from providers.provider import Provider, ProviderOptions, check_times, options_for, succeeded
from providers.refusals import NO_MONEY, by_reply
from providers.spans import segment, word
from providers.types import Capabilities, Segment, Task, Timestamps, Transcript, Word

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.errors import ProviderError
    from providers.exchange import Exchange, HttpReply
    from providers.types import Audio, Deployment, TranscriptionJob

NAME = "assemblyai"


class AssemblyaiOptions(ProviderOptions):
    """What a caller may set besides."""

    keyterms_prompt: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        default=None, max_length=1000
    )
    speakers_expected: int | None = Field(default=None, ge=1, le=50)
    min_speakers_expected: int | None = Field(default=None, ge=1, le=50)
    max_speakers_expected: int | None = Field(default=None, ge=1, le=50)
    expected_languages: list[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]] | None = Field(
        default=None, min_length=1, max_length=100
    )
    language_confidence_threshold: float | None = Field(default=None, ge=0, le=1)
    punctuate: bool | None = None
    format_text: bool | None = None
    disfluencies: bool | None = None
    filter_profanity: bool | None = None
    speech_threshold: float | None = Field(default=None, ge=0, le=1)


# --- what each model can do

_SPEAKERS: Final = frozenset({"speakers_expected", "min_speakers_expected", "max_speakers_expected"})
_ANY_MODEL: Final = Capabilities(
    timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
    tasks=frozenset(Task),
    diarize=True,
    options=frozenset(AssemblyaiOptions.model_fields),
    speaker_options=_SPEAKERS,
    max_bytes=2_200_000_000,  # of an upload, documented as 2.2 GB
    max_duration_s=10 * 3600.0,
)
_UNIVERSAL_3: Final = replace(_ANY_MODEL, generation=frozenset({"temperature"}), prompt=True)
MODELS: Final[Mapping[str, Capabilities]] = {
    "universal-3-5-pro": _UNIVERSAL_3,
    "universal-3-pro": _UNIVERSAL_3,
    "universal-2": _ANY_MODEL,
}


def capabilities(to: Deployment) -> Capabilities:
    """Return what the model can do; of one unknown here, no more than the service promises for all."""
    return MODELS.get(to.native_model, _ANY_MODEL)


# --- what is sent


def transcribe(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
    """Upload, order, ask until it is over, read. Raises JobUnsupported: a translation has no words with times."""
    check_times(job, NAME)
    api = to.account.base_urls["api"]
    orders = f"{api}/v2/transcript"
    audio_url = yield from _upload(job.audio, f"{api}/v2/upload")
    order = json_post(orders, {"audio_url": audio_url, **build_fields(job, to)})
    address, done = yield from _JOBS.run(order, orders)
    heard = read(done, job)
    if job.timestamps is not Timestamps.SEGMENT or job.diarize or job.task is Task.TRANSLATE:
        return heard
    sentences = parse(NAME, _Sentences, (yield from _JOBS.read(f"{address}/sentences"))).sentences
    return replace(heard, segments=tuple(segment(each.text, each.start_s, each.end_s) for each in sentences))


class _Uploaded(BaseModel):
    upload_url: Url


def _upload(audio: Audio, url: str) -> Exchange[str]:
    """Upload the audio; return what an order names it by. It is deleted with the transcript, or in days by itself."""
    request = HttpRequest(
        method="POST", url=url, headers={"content-type": "application/octet-stream"}, body=(audio.content,)
    )
    return parse(NAME, _Uploaded, succeeded((yield request), classify_error)).upload_url


def build_fields(job: TranscriptionJob, to: Deployment) -> dict[str, object]:
    """Return the order, without the audio."""
    can = capabilities(to)
    options = options_for(job, NAME, can)
    fields: dict[str, object] = {"speech_models": [to.native_model], **_language(job, options)}
    if can.prompt and job.prompt:
        fields["prompt"] = job.prompt
    if "temperature" in can.generation and job.generation.temperature is not None:
        fields["temperature"] = min(1.0, job.generation.temperature)
    if job.diarize or _translated_in_turns(job):
        fields["speaker_labels"] = True
    if bounds := {name: options.pop(name) for name in _SPEAKERS - {"speakers_expected"} if name in options}:
        fields["speaker_options"] = bounds
    if job.task is Task.TRANSLATE:
        into = {"target_languages": ["en"], "match_original_utterance": _translated_in_turns(job)}
        fields["speech_understanding"] = {"request": {"translation": into}}
    return fields | options


_REGIONS: Final = {"en-us": "en_us", "en-gb": "en_uk", "en-uk": "en_uk", "en-au": "en_au"}


def _language(job: TranscriptionJob, options: dict[str, object]) -> dict[str, object]:
    """Return the language, or that it is to be detected: left out, all is heard as American English."""
    expected = options.pop("expected_languages", None)
    if job.language:
        options.pop("language_confidence_threshold", None)  # of a detection
        regional = _REGIONS.get(job.language.lower().replace("_", "-"))
        return {"language_code": regional or code_of(job.language) or job.language}
    among = {"language_detection_options": {"expected_languages": expected}} if expected else {}
    return {"language_detection": True, **among}


def _translated_in_turns(job: TranscriptionJob) -> bool:
    """Whether a translation is wanted with times: only turns are translated one by one."""
    return job.task is Task.TRANSLATE and (job.diarize or job.timestamps is not Timestamps.NONE)


# --- what comes back


class _Timed(BaseModel):
    text: str
    start: FiniteFloat  # milliseconds
    end: FiniteFloat
    speaker: str | None = None
    confidence: FiniteFloat | None = None
    translated_texts: dict[str, str] | None = None

    @property
    def start_s(self) -> float:
        return self.start / 1000

    @property
    def end_s(self) -> float:
        return self.end / 1000


class _Sentences(BaseModel):
    sentences: list[_Timed]


class _Done(Job):
    status: Literal["queued", "processing", "completed", "error"]
    id: str
    text: str | None = None
    words: list[_Timed] | None = None
    utterances: list[_Timed] | None = None
    translated_texts: dict[str, str] | None = None
    language_code: str | None = None
    audio_duration: FiniteFloat | None = None  # whole seconds
    speech_model_used: str | None = None
    error: str | None = None


def read(done: _Done, job: TranscriptionJob) -> Transcript:
    """Read a transcript that is over. Raises ProviderError: a failed one comes with a 200 like any other."""
    if done.status == "error":
        raise _failure(done.error or "")
    translates = job.task is Task.TRANSLATE
    text = (done.translated_texts or {}).get("en") if translates else done.text
    if text is None:
        raise MalformedReply(NAME, "a transcript without a translation" if translates else "a transcript without text")
    return Transcript(
        text=text.strip(),
        segments=_turns(done, job),
        words=tuple(_word(each, job) for each in done.words or []) if job.timestamps is Timestamps.WORD else (),
        language=code_of(done.language_code or ""),
        # In whole seconds: better than nothing, and worse than what the file says.
        duration_s=None if job.audio.duration_s else done.audio_duration,
        model_version=done.speech_model_used,
        request_id=done.id,
    )


def _turns(done: _Done, job: TranscriptionJob) -> tuple[Segment, ...]:
    """Return who said what, or what it means in English."""
    if not (job.diarize or _translated_in_turns(job)):
        return ()
    turns = done.utterances or []
    if job.task is Task.TRANSCRIBE:
        return tuple(segment(each.text, each.start_s, each.end_s, each.speaker) for each in turns)
    if any("en" not in (each.translated_texts or {}) for each in turns):
        raise MalformedReply(NAME, "a turn without a translation")
    return tuple(
        segment(said["en"], each.start_s, each.end_s, each.speaker if job.diarize else None)
        for each in turns
        if (said := each.translated_texts)
    )


def _word(each: _Timed, job: TranscriptionJob) -> Word:
    speaker = each.speaker if job.diarize else None
    return word(each.text, each.start_s, each.end_s, speaker=speaker, confidence=each.confidence)


# --- what went wrong

_THEIRS: Final = re.compile(r"server error|try again|unable to download|internal", re.IGNORECASE)


def _failure(said: str) -> ProviderError:
    """Name what a failed transcript says. It is not billed."""
    if _THEIRS.search(said):
        return ProviderUnavailable(NAME, "it failed on its side")
    return JobUnsupported(NAME, "it could not transcribe this audio")


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx. A 400 may also say that the account owes money."""
    if reply.status == HTTPStatus.BAD_REQUEST and NO_MONEY.search(reply.said):
        return QuotaExhausted(NAME, "the account's balance is negative")
    return by_reply(NAME, reply)


_JOBS: Final = Jobs(
    provider=NAME,
    job=_Done,
    classify_error=classify_error,
    kept=frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT}),
)

ASSEMBLYAI = Provider(
    name=NAME,
    base_urls={"api": "https://api.assemblyai.com"},
    key_variable="ASSEMBLYAI_API_KEY",
    authorize=key_header("authorization"),
    capabilities=capabilities,
    transcribe=transcribe,
    options=AssemblyaiOptions,
)
