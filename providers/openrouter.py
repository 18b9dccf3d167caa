"""OpenRouter: many services' models on one route, the audio as base64 in JSON, and what it cost in the reply.

Source: openrouter 1.3.84 (`components/stt*.py`), openrouter.ai/docs "Speech-to-Text" and the models' pages (2026-11);
what Chirp refuses: SubtitleEdit 14542. The route takes a form as well, whose files end at 25 MB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from msgspec.structs import replace
from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from providers import openai_form
from providers.audio.containers import EXTENSIONS
from providers.authorize import bearer
from providers.bodies import AUDIO, json_with_audio
from providers.errors import MalformedReply
from providers.exchange import HttpRequest
from providers.provider import Provider, ProviderOptions, one_timed_call, options_for
from providers.types import Capabilities, Container, Timestamps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.errors import ProviderError
    from providers.exchange import HttpReply
    from providers.types import Deployment, Transcript, TranscriptionJob

NAME = "openrouter"


class OpenRouterOptions(ProviderOptions):
    """What a caller may set besides."""

    keyterms: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        default=None, min_length=1, max_length=100
    )
    zdr: bool | None = None  # only at services that retain nothing
    data_collection: Literal["allow", "deny"] | None = None


# --- what each model can do

_ROUTING: Final = frozenset({"zdr", "data_collection"})
_TEXT: Final = Capabilities(
    generation=frozenset({"temperature"}),
    options=_ROUTING,
    containers=frozenset(
        {
            Container.WAV,
            Container.MP3,
            Container.FLAC,
            Container.MP4,
            Container.OGG,
            Container.WEBM,
            Container.AAC,
        }
    ),
)
_WHISPER: Final = replace(_TEXT, timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}))
# Its 400 is the only way to know what another cannot do; it costs nothing, and the next target is asked.
_ANY_MODEL: Final = replace(_WHISPER, diarize=True, options=frozenset(OpenRouterOptions.model_fields))

MODELS: Final[Mapping[str, Capabilities]] = {
    "openai/whisper-large-v3": _WHISPER,
    "openai/whisper-large-v3-turbo": _WHISPER,
    "openai/whisper-1": _WHISPER,
    "openai/gpt-4o-transcribe": _TEXT,
    "openai/gpt-4o-mini-transcribe": _TEXT,
    "google/chirp-3": replace(_TEXT, containers=frozenset({Container.WAV, Container.FLAC}), max_duration_s=60.0),
    "microsoft/mai-transcribe-2": _ANY_MODEL,
}


def capabilities(to: Deployment) -> Capabilities:
    """Return what the model can do; of one unknown here, all that the route has."""
    return MODELS.get(to.native_model, _ANY_MODEL)


# --- what is sent


def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send the audio inside JSON."""
    return HttpRequest(
        method="POST",
        url=f"{to.account.base_urls['api']}/audio/transcriptions",
        headers={"content-type": "application/json"},
        body=json_with_audio(_fields(job, to), job.audio, data_uri=False),
    )


def _fields(job: TranscriptionJob, to: Deployment) -> dict[str, object]:
    format_ = EXTENSIONS[job.audio.container] if job.audio.container else "wav"
    fields: dict[str, object] = {"model": to.native_model, "input_audio": {"data": AUDIO, "format": format_}}
    if job.language:
        fields["language"] = openai_form.language(job.language)
    if job.generation.temperature is not None:
        fields["temperature"] = job.generation.temperature
    fields |= _times(openai_form.honoured(job, capabilities(to)))
    options = options_for(job, NAME, capabilities(to))
    if terms := options.get("keyterms"):
        fields["keyterms"] = terms
    if routing := {name: options[name] for name in sorted(_ROUTING & options.keys())}:
        fields["provider"] = routing
    return fields


def _times(job: TranscriptionJob) -> dict[str, object]:
    """Return what asks for times. Speakers are told of words alone, which come with them."""
    if job.timestamps is Timestamps.NONE and not job.diarize:
        return {}
    levels = ["segment", "word"] if job.timestamps is Timestamps.WORD or job.diarize else ["segment"]
    asked: dict[str, object] = {"response_format": "verbose_json", "timestamp_granularities": levels}
    return {**asked, "diarize": True} if job.diarize else asked


# --- what comes back


class _Usage(BaseModel):
    seconds: FiniteFloat | None = None
    cost: FiniteFloat | None = None


class _Reply(openai_form.Reply):
    usage: _Usage | None = None


def parse_reply(reply: HttpReply) -> Transcript:
    """Read a 200. Raises MalformedReply, and nothing else."""
    try:
        heard = _Reply.model_validate_json(reply.body)
    except ValidationError as error:
        raise MalformedReply(NAME, "a 200 without a transcription's JSON") from error
    usage = heard.usage or _Usage()
    told = openai_form.transcript(_spoken(heard, usage), reply)
    return replace(
        told,
        cost_usd=usage.cost if usage.cost is not None and usage.cost >= 0 else None,
        request_id=reply.headers.get("x-generation-id") or told.request_id,
    )


def _spoken(heard: _Reply, usage: _Usage) -> openai_form.Reply:
    """Return the reply without noises, and without segments where words alone say who spoke."""
    words = [each for each in heard.words or () if each.type != "audio_event"]
    segments = heard.segments or []
    if any(each.speaker for each in words) and not any(each.speaker for each in segments):
        segments = []
    duration = heard.duration if heard.duration is not None else usage.seconds
    return heard.model_copy(update={"words": words, "segments": segments, "duration": duration})


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx."""
    return openai_form.classify_error(NAME, reply)


OPENROUTER = Provider(
    name=NAME,
    base_urls={"api": "https://openrouter.ai/api/v1"},
    key_variable="OPENROUTER_API_KEY",
    authorize=bearer,
    capabilities=capabilities,
    transcribe=one_timed_call(build_request, parse_reply, classify_error),
    options=OpenRouterOptions,
)
