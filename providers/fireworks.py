"""Fireworks AI: Whisper in OpenAI's form, each model at a host of its own, with lists as one part and speakers.

Source: fireworks-ai 0.19.20 (`client/audio.py`, `client/audio_api.py`; later ones have no audio), the public reference
as tryAGI/Fireworks has it (2026-08-17). Whether these hosts still serve was not confirmed in 2026-11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from msgspec.structs import replace
from pydantic import Field

from providers import openai_form
from providers.authorize import bearer
from providers.bodies import multipart
from providers.errors import JobUnsupported
from providers.provider import Provider, ProviderOptions, one_timed_call, options_for
from providers.types import Capabilities, Container, Task, Timestamps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.errors import ProviderError
    from providers.exchange import HttpReply, HttpRequest
    from providers.types import Deployment, Transcript, TranscriptionJob

NAME = "fireworks"
_Speakers = Annotated[int, Field(ge=1, le=100)]


class FireworksOptions(ProviderOptions):
    """What a caller may set besides."""

    vad_model: Literal["silero", "whisperx-pyannet"] | None = None
    alignment_model: Literal["mms_fa", "tdnn_ffn", "gentle"] | None = None
    preprocessing: Literal["none", "dynamic", "soft_dynamic", "bass_dynamic"] | None = None
    skip_vad: bool | None = None  # of less than 30 seconds
    max_clip_len: float | None = Field(default=None, gt=0, le=3600)  # seconds of a segment
    min_speakers: _Speakers | None = None
    max_speakers: _Speakers | None = None


# --- what each model can do

_SPEAKERS: Final = frozenset({"min_speakers", "max_speakers"})
_WHISPER: Final = replace(
    openai_form.WHISPER,
    diarize=True,
    options=frozenset(FireworksOptions.model_fields),
    speaker_options=_SPEAKERS,
    containers=frozenset({Container.WAV, Container.FLAC, Container.MP3}),
    max_bytes=1_000_000_000 - openai_form.FORM_BYTES,  # documented as 1 GB
)
_HOSTS: Final = {"whisper-v3": "api", "whisper-v3-turbo": "turbo"}
MODELS: Final[Mapping[str, Capabilities]] = dict.fromkeys(_HOSTS, _WHISPER)


def capabilities(to: Deployment) -> Capabilities:
    """Return what the model can do; of one unknown here, the same."""
    return MODELS.get(to.native_model, _WHISPER)


# --- what is sent


def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send the form to the model's own host. Raises JobUnsupported: who spoke is not told of a translation."""
    if job.diarize and job.task is Task.TRANSLATE:
        raise JobUnsupported(NAME, "it does not tell speakers apart while translating")
    # Speakers are told of words alone.
    wanted = replace(job, timestamps=Timestamps.WORD) if job.diarize else job
    form = openai_form.fields(wanted, to, granularities=None)
    if job.task is Task.TRANSCRIBE and wanted.timestamps is not Timestamps.NONE:
        form.append(("timestamp_granularities", _LEVELS[wanted.timestamps]))
    if job.diarize:
        form.append(("diarize", "true"))
    form += openai_form.option_fields(options_for(job, NAME, capabilities(to)))
    return multipart(openai_form.url(job, to, _HOSTS.get(to.native_model, "api")), form, job.audio)


_LEVELS: Final = {Timestamps.SEGMENT: "segment", Timestamps.WORD: "word,segment"}


# --- what comes back


def parse_reply(reply: HttpReply) -> Transcript:
    """Read a 200. Raises MalformedReply, and nothing else. Of several languages the first counts."""
    heard = openai_form.read_reply(NAME, reply)
    first = heard.language.partition(",")[0] if heard.language else None
    return openai_form.transcript(heard.model_copy(update={"language": first}), reply)


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx."""
    return openai_form.classify_error(NAME, reply)


FIREWORKS = Provider(
    name=NAME,
    base_urls={
        "api": "https://audio-prod.api.fireworks.ai/v1",
        "turbo": "https://audio-turbo.api.fireworks.ai/v1",
    },
    key_variable="FIREWORKS_API_KEY",
    authorize=bearer,
    capabilities=capabilities,
    transcribe=openai_form.within_limits(NAME, one_timed_call(build_request, parse_reply, classify_error)),
    options=FireworksOptions,
)
