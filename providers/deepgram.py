"""Deepgram, recorded audio: raw bytes in one call, everything else in the query.

Source: deepgram-sdk 7.17.0, deepgram/deepgram-api-specs openapi.yml (2026-07-22), deepgram/deepgram-docs (2025-07).
Words always come with their times. An account's address decides the region.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlencode

from msgspec.structs import replace
from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from providers.authorize import key_header
from providers.errors import AttemptTimedOut, JobUnsupported, MalformedReply
from providers.exchange import HttpRequest
from providers.languages import code_of
from providers.openai_form import repeated
from providers.provider import Provider, ProviderOptions, one_timed_call, options_for
from providers.refusals import by_reply
from providers.spans import Speaker, segment, word
from providers.types import Capabilities, Container, Timestamps, Transcript, Word

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.errors import ProviderError
    from providers.exchange import HttpReply
    from providers.types import Deployment, TranscriptionJob

NAME = "deepgram"
_Terms = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(min_length=1, max_length=100)]


class DeepgramOptions(ProviderOptions):
    """What a caller may set besides."""

    keyterm: _Terms | None = None  # of Nova-3
    keywords: _Terms | None = None  # of what came before it: `word:weight`
    smart_format: bool | None = None  # True unless set: punctuation, and numbers as they are written
    utt_split: float | None = Field(default=None, gt=0, le=60)  # seconds of silence that end an utterance
    filler_words: bool | None = None
    numerals: bool | None = None
    measurements: bool | None = None
    dictation: bool | None = None
    profanity_filter: bool | None = None
    redact: _Terms | None = None
    replace: _Terms | None = None  # `find:replacement`
    diarize_model: str | None = Field(default=None, pattern=r"^(latest|v\d{1,3})$")
    mip_opt_out: bool | None = None  # keeps the audio out of Deepgram's training
    tag: _Terms | None = None


# --- what each model can do

_SPEAKERS: Final = frozenset({"diarize_model"})
_ALL_OPTIONS: Final = frozenset(DeepgramOptions.model_fields)
_NOVA_3: Final = Capabilities(
    timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
    diarize=True,
    options=_ALL_OPTIONS - {"keywords"},
    speaker_options=_SPEAKERS,
    containers=frozenset(
        {
            Container.WAV,
            Container.MP3,
            Container.MP4,
            Container.AAC,
            Container.FLAC,
            Container.OGG,
            Container.WEBM,
        }
    ),
    max_bytes=2_000_000_000,  # documented as 2 GB
)
_OLDER: Final = replace(_NOVA_3, options=_ALL_OPTIONS - {"keyterm"})
_ENGLISH: Final = frozenset({"en"})
MODELS: Final[Mapping[str, Capabilities]] = {
    "nova-3": _NOVA_3,
    "nova-3-medical": replace(_NOVA_3, languages=_ENGLISH),
    "nova-2": _OLDER,
}


def capabilities(to: Deployment) -> Capabilities:
    """Return what the model can do; of one unknown here, what its generation can."""
    return MODELS.get(to.native_model) or (_NOVA_3 if to.native_model.startswith("nova-3") else _OLDER)


# --- what is sent


def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send the bytes as they came; a JSON type would make an address of them."""
    return HttpRequest(
        method="POST",
        url=f"{to.account.base_urls['api']}/v1/listen?{urlencode(_query(job, to))}",
        headers={"content-type": job.audio.media_type},
        body=(job.audio.content,),
    )


def _query(job: TranscriptionJob, to: Deployment) -> list[tuple[str, str]]:
    can = capabilities(to)
    asked: dict[str, object] = {"model": to.native_model, "smart_format": True, **_language(job, can)}
    if job.timestamps is not Timestamps.NONE or job.diarize:
        asked["utterances"] = True
    if job.diarize:
        asked["diarize_model"] = "latest"
    return repeated(asked | options_for(job, NAME, can))


def _language(job: TranscriptionJob, can: Capabilities) -> dict[str, object]:
    """Return the language, regional where the caller was, or that it is to be detected: left out, all is English."""
    if job.language:
        return {"language": job.language if "-" in job.language else code_of(job.language) or job.language}
    return {"language": "en"} if can.languages == _ENGLISH else {"detect_language": True}


# --- what comes back


class _Word(BaseModel):
    word: str
    punctuated_word: str | None = None
    start: FiniteFloat
    end: FiniteFloat
    confidence: FiniteFloat | None = None
    speaker: Speaker = None


class _Alternative(BaseModel):
    transcript: str
    words: list[_Word] = []
    languages: list[str] = []


class _Channel(BaseModel):
    alternatives: list[_Alternative] = Field(min_length=1)
    detected_language: str | None = None


class _Utterance(BaseModel):
    transcript: str
    start: FiniteFloat
    end: FiniteFloat
    speaker: Speaker = None


class _Results(BaseModel):
    channels: list[_Channel] = Field(min_length=1)
    utterances: list[_Utterance] = []


class _Model(BaseModel):
    name: str = ""
    version: str = ""


class _Metadata(BaseModel):
    request_id: str | None = None
    duration: FiniteFloat | None = Field(default=None, ge=0)
    model_info: dict[str, _Model] = {}


class _Reply(BaseModel):
    metadata: _Metadata
    results: _Results


def parse_reply(reply: HttpReply) -> Transcript:
    """Read a 200 reply. Raises MalformedReply, and nothing else."""
    try:
        heard = _Reply.model_validate_json(reply.body)
    except ValidationError as error:
        raise MalformedReply(NAME, "a 200 without a transcript's JSON") from error
    channel = heard.results.channels[0]  # channels are mixed unless they are asked for
    said = channel.alternatives[0]
    model = next(iter(heard.metadata.model_info.values()), None)
    return Transcript(
        text=said.transcript.strip(),
        segments=tuple(
            segment(each.transcript, each.start, each.end, each.speaker) for each in heard.results.utterances
        ),
        words=tuple(map(_word, said.words)),
        language=next(filter(None, map(code_of, [channel.detected_language or "", *said.languages])), None),
        duration_s=heard.metadata.duration,
        model_version=f"{model.name} {model.version}".strip() if model else None,
        request_id=heard.metadata.request_id,
    )


def _word(each: _Word) -> Word:
    text = each.punctuated_word or each.word
    return word(text, each.start, each.end, speaker=each.speaker, confidence=each.confidence)


# --- what went wrong


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx. A 504 says that its own time for the audio was up: again it would be no shorter."""
    if reply.status == HTTPStatus.GATEWAY_TIMEOUT:
        return AttemptTimedOut(NAME, "it took longer than it allows itself")
    if reply.status == HTTPStatus.BAD_REQUEST and b"failed to process audio" in reply.body[:8192]:
        return JobUnsupported(NAME, "it cannot read this kind of file")
    return by_reply(NAME, reply)


DEEPGRAM = Provider(
    name=NAME,
    base_urls={"api": "https://api.deepgram.com"},
    key_variable="DEEPGRAM_API_KEY",
    authorize=key_header("authorization", prefix="Token "),
    capabilities=capabilities,
    transcribe=one_timed_call(build_request, parse_reply, classify_error),
    options=DeepgramOptions,
)
