"""Azure AI Speech, fast transcription: one form with a JSON definition, times in milliseconds, key or Entra's token.

`base_url` is the resource's or its region's: `https://eastus.api.cognitive.microsoft.com`. Options of an account:
`api_version`, a date; `auth: entra`, where the key is a token of Microsoft Entra ID, which needs a domain of its own.

Source: azure-ai-transcription 1.0.0, MicrosoftDocs/azure-ai-docs fast-transcription-create and quotas (2024-11),
@azure/ai-speech-transcription 1.0.0 (2026). Left out: channels, which are mixed unless asked for apart.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlencode

from msgspec.structs import replace
from pydantic import BaseModel, Field, ValidationError

from providers.authorize import check_entra, key_or_entra
from providers.bodies import multipart
from providers.errors import MalformedReply, QuotaExhausted
from providers.languages import code_of
from providers.locales import locale_of
from providers.provider import Provider, ProviderOptions, one_timed_call, options_for
from providers.refusals import by_reply
from providers.spans import Speaker, segment, word
from providers.terms import terms_of
from providers.types import Capabilities, Container, Task, Timestamps, Transcript

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.errors import ProviderError
    from providers.exchange import HttpReply, HttpRequest
    from providers.types import Deployment, TranscriptionJob

NAME = "azure-speech"
_Locale = Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){1,3}$")]


class AzureSpeechOptions(ProviderOptions):
    """What a caller may set besides."""

    locales: list[_Locale] | None = Field(default=None, min_length=1, max_length=20)  # one of which is spoken
    phrases: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        default=None, min_length=1, max_length=500
    )
    biasing_weight: float | None = Field(default=None, ge=0, le=20)  # of the phrases
    profanity_filter_mode: Literal["None", "Masked", "Removed", "Tags"] | None = None
    max_speakers: int | None = Field(default=None, ge=2, le=35)


# --- what each model can do

_SPEAKERS: Final = frozenset({"max_speakers"})
_PHRASES: Final = frozenset({"phrases", "biasing_weight"})
_FAST: Final = Capabilities(
    timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
    prompt=True,
    diarize=True,
    options=frozenset(AzureSpeechOptions.model_fields),
    speaker_options=_SPEAKERS,
    containers=frozenset(
        {
            Container.WAV,
            Container.MP3,
            Container.OGG,
            Container.FLAC,
            Container.ASF,
            Container.AAC,
            Container.AMR,
            Container.WEBM,
            Container.MP4,
        }
    ),
    # The least that any page says; others speak of 250 or 500 MB, and of five hours.
    max_bytes=200_000_000,
    max_duration_s=2 * 3600.0,
)
MODELS: Final[Mapping[str, Capabilities]] = {
    "fast": _FAST,
    # "enhanced mode": a language model that listens.
    "llm-speech": replace(_FAST, tasks=frozenset(Task), options=_FAST.options - _PHRASES),
}
_DATED: Final = re.compile(r"20\d\d-[01]\d-[0-3]\d(-preview)?", re.ASCII)
_VERSION: Final = "2025-10-15"


def capabilities(to: Deployment) -> Capabilities:
    """Return what the model can do. Raises ValueError where the account's options are none."""
    if not _DATED.fullmatch(to.account.options.get("api_version", _VERSION)):
        raise ValueError(f"options.api_version must be a date such as {_VERSION}")
    check_entra(to.account)
    return MODELS.get(to.native_model, _FAST)


# --- what is sent


def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send the definition and the audio."""
    version = urlencode({"api-version": to.account.options.get("api_version", _VERSION)})
    url = f"{to.account.base_urls['api']}/speechtotext/transcriptions:transcribe?{version}"
    return multipart(url, [("definition", json.dumps(_definition(job, to)))], job.audio, part="audio")


def _definition(job: TranscriptionJob, to: Deployment) -> dict[str, object]:
    options = options_for(job, NAME, capabilities(to))
    # Unless told, it puts asterisks for what it finds rude.
    definition: dict[str, object] = {"profanityFilterMode": options.get("profanity_filter_mode", "None")}
    if locales := _locales(job, options):
        definition["locales"] = locales
    if job.diarize:
        definition["diarization"] = {"enabled": True, "maxSpeakers": options.get("max_speakers", 35)}
    if to.native_model == "llm-speech":
        return {**definition, "enhancedMode": _enhanced(job)}
    if phrases := [*terms_of(job.prompt or ""), *options.get("phrases", ())]:
        weight = {"biasingWeight": options["biasing_weight"]} if "biasing_weight" in options else {}
        definition["phraseList"] = {"phrases": phrases, **weight}
    return definition


# As this service calls them.
_OWN: Final = {"no": "nb-NO", "tl": "fil-PH", "jw": "jv-ID", "yue": "zh-HK"}


def _locales(job: TranscriptionJob, options: Mapping[str, Any]) -> list[str]:
    """Return the one that was named, those to choose from, or none: then all that it knows are listened for."""
    if not job.language:
        return list(options.get("locales", ()))
    own = None if "-" in job.language else _OWN.get(code_of(job.language) or "")
    return [own or locale_of(job.language) or job.language]


def _enhanced(job: TranscriptionJob) -> dict[str, object]:
    mode: dict[str, object] = {"enabled": True, "task": job.task.value}
    if job.task is Task.TRANSLATE:
        mode["targetLanguage"] = "en"
    return {**mode, "prompt": [job.prompt]} if job.prompt else mode


# --- what comes back


_Milliseconds = Annotated[int, Field(ge=-(10**12), le=10**12)]


class _Span(BaseModel):
    text: str
    offset: _Milliseconds = Field(alias="offsetMilliseconds")
    duration: _Milliseconds = Field(alias="durationMilliseconds")

    @property
    def times_s(self) -> tuple[float, float]:
        return self.offset / 1000, (self.offset + self.duration) / 1000


class _Phrase(_Span):
    speaker: Speaker = None
    locale: str | None = None
    words: list[_Span] | None = None


class _Combined(BaseModel):
    text: str


class _Reply(BaseModel):
    duration: _Milliseconds | None = Field(default=None, alias="durationMilliseconds")
    combined: list[_Combined] = Field(alias="combinedPhrases")
    phrases: list[_Phrase] | None = None


def parse_reply(reply: HttpReply) -> Transcript:
    """Read a 200. Raises MalformedReply, and nothing else."""
    try:
        heard = _Reply.model_validate_json(reply.body)
    except ValidationError as error:
        raise MalformedReply(NAME, "a 200 without a transcription's JSON") from error
    phrases = heard.phrases or []
    spoken = next((each.locale for each in phrases if each.locale), None)
    return Transcript(
        text=" ".join(said for each in heard.combined if (said := each.text.strip())),
        segments=tuple(segment(each.text, *each.times_s, each.speaker) for each in phrases),
        words=tuple(
            word(each.text, *each.times_s, speaker=phrase.speaker) for phrase in phrases for each in phrase.words or ()
        ),
        language=code_of(spoken) if spoken else None,
        duration_s=heard.duration / 1000 if heard.duration is not None and heard.duration >= 0 else None,
        request_id=reply.headers.get("apim-request-id"),
    )


# --- what went wrong


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx. The free tier's 403 says that it is used up, and nothing of the key."""
    if reply.status == 403 and "quota" in reply.said.lower():
        return QuotaExhausted(NAME, "the account's quota is used up")
    return by_reply(NAME, reply)


AZURE_SPEECH = Provider(
    name=NAME,
    base_urls={},
    key_variable=None,
    authorize=key_or_entra("ocp-apim-subscription-key"),
    capabilities=capabilities,
    transcribe=one_timed_call(build_request, parse_reply, classify_error),
    options=AzureSpeechOptions,
)
