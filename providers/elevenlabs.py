"""ElevenLabs Scribe: a form in one call, words and the blanks between them back, and the transcript deleted there.

Source: elevenlabs 2.78.0 (`speech_to_text`), elevenlabs.io's page "Errors" (2026), elevenlabs/elevenlabs-docs
(2025-08). An account's address decides where data stays.
"""

from __future__ import annotations

import math
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final, Self

from msgspec.structs import replace
from pydantic import BaseModel, Field, FiniteFloat, ValidationError, model_validator

from providers.authorize import key_header
from providers.bodies import multipart
from providers.errors import MalformedReply, QuotaExhausted
from providers.exchange import Afterwards, HttpRequest
from providers.languages import code_of
from providers.openai_form import repeated, text_of
from providers.provider import Provider, ProviderOptions, options_for, succeeded
from providers.refusals import by_reply
from providers.sentences import as_asked
from providers.spans import word
from providers.types import Capabilities, Container, Timestamps, Transcript

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.errors import ProviderError
    from providers.exchange import Exchange, HttpReply
    from providers.types import Deployment, TranscriptionJob, Word

NAME = "elevenlabs"


class ElevenlabsOptions(ProviderOptions):
    """What a caller may set besides."""

    keyterms: Annotated[
        list[Annotated[str, Field(pattern=r"^[^<>{}\[\]\\]+$", max_length=50)]] | None,
        Field(min_length=1, max_length=1000),
    ] = None  # a fifth more is billed with them
    num_speakers: int | None = Field(default=None, ge=1, le=32)
    diarization_threshold: float | None = Field(default=None, gt=0, lt=1)  # where their number is not given
    detect_speaker_roles: bool | None = None  # "agent" and "customer"; a tenth more is billed
    tag_audio_events: bool | None = None  # False unless set: no "(laughs)" in the text
    no_verbatim: bool | None = None  # leaves fillers out
    numbers_format: str | None = Field(default=None, pattern="^(digits|words)$")
    secondary_language_codes: list[Annotated[str, Field(pattern="^[a-z]{2,3}$")]] | None = Field(
        default=None, min_length=1, max_length=20
    )
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1)
    enable_logging: bool | None = None  # False: nothing is kept there, which takes an enterprise plan

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if self.num_speakers and self.diarization_threshold:
            raise ValueError("num_speakers and diarization_threshold exclude each other")
        return self


# --- what each model can do

_SPEAKERS: Final = frozenset({"num_speakers", "diarization_threshold", "detect_speaker_roles"})
_ALL_OPTIONS: Final = frozenset(ElevenlabsOptions.model_fields)
_OF_THE_THIRD: Final = frozenset({"numbers_format", "secondary_language_codes"})
_SCRIBE: Final = Capabilities(
    generation=frozenset({"temperature"}),
    timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
    diarize=True,
    options=_ALL_OPTIONS - _OF_THE_THIRD,
    speaker_options=_SPEAKERS,
    containers=frozenset(
        {
            Container.AAC,
            Container.AIFF,
            Container.OGG,
            Container.MP3,
            Container.WAV,
            Container.WEBM,
            Container.FLAC,
            Container.MP4,
        }
    ),
    max_bytes=3_000_000_000,  # documented as 3 GB
    max_duration_s=10 * 3600.0,
)
MODELS: Final[Mapping[str, Capabilities]] = {
    "scribe_v3": replace(_SCRIBE, options=_ALL_OPTIONS),
    "scribe_v2": _SCRIBE,
    "scribe_v1": replace(_SCRIBE, options=_SCRIBE.options - {"keyterms", "no_verbatim"}),
}


def capabilities(to: Deployment) -> Capabilities:
    """Return what the model can do; of one unknown here, what the second generation can."""
    return MODELS.get(to.native_model, _SCRIBE)


# --- what is sent


def transcribe(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
    """Take one call, and have what is kept of it deleted. Who hears nothing of it, knows no transcript to delete."""
    request = build_request(job, to)
    reply = succeeded((yield request), classify_error)
    heard = read_reply(reply)
    is_kept = options_for(job, NAME, capabilities(to)).get("enable_logging", True)
    if is_kept and _CAN_BE_NAMED.fullmatch(heard.transcription_id or ""):
        transcripts = f"{to.account.base_urls['api']}/v1/speech-to-text/transcripts"
        yield Afterwards(HttpRequest(method="DELETE", url=f"{transcripts}/{heard.transcription_id}"))
    return as_asked(told(heard), job)


_CAN_BE_NAMED: Final = re.compile(r"[\w-]{1,200}", re.ASCII)


def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send a form. Whether anything is kept there goes into the query."""
    options = options_for(job, NAME, capabilities(to))
    url = f"{to.account.base_urls['api']}/v1/speech-to-text"
    if "enable_logging" in options:
        url += f"?enable_logging={text_of(options.pop('enable_logging'))}"
    return replace(multipart(url, _fields(job, to, options), job.audio), bills=True)


def _fields(job: TranscriptionJob, to: Deployment, options: dict[str, object]) -> list[tuple[str, str]]:
    times = job.timestamps is not Timestamps.NONE or job.diarize
    fields: dict[str, object] = {
        "model_id": to.native_model,
        "timestamps_granularity": "word" if times else "none",
        "tag_audio_events": False,
    }
    if job.language:
        fields["language_code"] = code_of(job.language) or job.language
    if job.diarize:
        fields["diarize"] = True
    if job.generation.temperature is not None:
        fields["temperature"] = min(2.0, job.generation.temperature)
    return repeated(fields | options)


# --- what comes back


class _Item(BaseModel):
    text: str
    start: FiniteFloat | None = None
    end: FiniteFloat | None = None
    type: str  # "word", "spacing", "audio_event"
    speaker_id: str | None = None
    logprob: FiniteFloat | None = None


class _Reply(BaseModel):
    text: str
    words: list[_Item] = []
    language_code: str | None = None
    audio_duration_secs: FiniteFloat | None = Field(default=None, ge=0)
    transcription_id: str | None = None


def read_reply(reply: HttpReply) -> _Reply:
    """Check a 200 reply's shape. Raises MalformedReply, and nothing else."""
    try:
        return _Reply.model_validate_json(reply.body)
    except ValidationError as error:
        raise MalformedReply(NAME, "a 200 without a transcript's JSON") from error


def told(heard: _Reply) -> Transcript:
    """Return what was heard, with every time there is."""
    return Transcript(
        text=heard.text.strip(),
        words=tuple(_word(each) for each in heard.words if each.type == "word" and each.start is not None),
        language=code_of(heard.language_code or ""),
        duration_s=heard.audio_duration_secs,
        request_id=heard.transcription_id,
    )


def _word(each: _Item) -> Word:
    sure = None if each.logprob is None else math.exp(min(0.0, each.logprob))
    return word(each.text, each.start, each.end, speaker=each.speaker_id, confidence=sure)


# --- what went wrong


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx. A 401 may also say that what was paid for is used up."""
    if reply.status == HTTPStatus.UNAUTHORIZED and b"quota_exceeded" in reply.body[:8192]:
        return QuotaExhausted(NAME, "the account's quota is used up")
    return by_reply(NAME, reply)


ELEVENLABS = Provider(
    name=NAME,
    base_urls={"api": "https://api.elevenlabs.io"},
    key_variable="ELEVENLABS_API_KEY",
    authorize=key_header("xi-api-key"),
    capabilities=capabilities,
    transcribe=transcribe,
    options=ElevenlabsOptions,
)
