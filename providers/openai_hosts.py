"""Services that took OpenAI's form over and differ by address, limits and abilities alone: a row of a table each.

Source: sambanova 1.13.0 (`types/audio`); lemonfox.ai, its pages on speech to text and on speakers (2026-11); OVHcloud's
guide to speech to text on AI Endpoints (2025-10) and litellm 1.109.1 `llms/ovhcloud`; Scaleway's supported models
(2025-10) and litellm `llms/scaleway`; telnyx 4.189.0 (`types/ai/audio_transcribe_*`); Venice's guide to speech to text
(2026-11).

Where a page and its service might differ on what it can do, the row has less: what it is not said to take is not sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from providers import openai_form
from providers.authorize import bearer
from providers.bodies import multipart
from providers.languages import name_of
from providers.provider import Provider
from providers.types import Capabilities, Container, Task, Timestamps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from providers.exchange import HttpRequest
    from providers.types import Deployment, TranscriptionJob


@dataclass(frozen=True, slots=True, kw_only=True)
class _Host:
    """One service: where it is, what its models can do, and what it wants otherwise than OpenAI."""

    name: str
    url: str
    key_variable: str
    models: Mapping[str, Capabilities]
    any_model: Capabilities  # of one unknown here: what all of them can
    write_language: Callable[[str], str] = field(default=openai_form.language)
    speakers: str | None = None  # the part that asks who spoke, of answers with times


def _english_name(language: str) -> str:
    return name_of(openai_form.language(language))


# --- what their models can do

_MEGABYTES_25: Final = 25_000_000 - openai_form.FORM_BYTES
_TEXT: Final = replace(openai_form.PLAIN, max_bytes=_MEGABYTES_25)
_SEGMENTS: Final = frozenset({Timestamps.SEGMENT})
_WORDS: Final = frozenset({Timestamps.SEGMENT, Timestamps.WORD})

_SAMBANOVA: Final = replace(_TEXT, generation=frozenset(), tasks=frozenset(Task), translation_hint=False)
_LEMONFOX: Final = replace(
    openai_form.PLAIN,
    generation=frozenset(),
    timestamps=_WORDS,
    diarize=True,
    max_bytes=100_000_000 - openai_form.FORM_BYTES,
)
_OVHCLOUD: Final = replace(openai_form.PLAIN, timestamps=_WORDS)
_BARE: Final = replace(openai_form.PLAIN, generation=frozenset(), prompt=False)
_TELNYX: Final = replace(_BARE, max_bytes=100_000_000 - openai_form.FORM_BYTES)

_HOSTS: Final = {
    host.name: host
    for host in (
        _Host(
            name="sambanova",
            url="https://api.sambanova.ai/v1",
            key_variable="SAMBANOVA_API_KEY",
            models={"Whisper-Large-v3": _SAMBANOVA},
            any_model=_SAMBANOVA,
        ),
        _Host(
            name="lemonfox",
            url="https://api.lemonfox.ai/v1",
            key_variable="LEMONFOX_API_KEY",
            models={"whisper-1": _LEMONFOX},
            any_model=_LEMONFOX,
            write_language=_english_name,
            speakers="speaker_labels",
        ),
        _Host(
            name="ovhcloud",
            url="https://oai.endpoints.kepler.ai.cloud.ovh.net/v1",
            key_variable="OVH_AI_ENDPOINTS_ACCESS_TOKEN",
            models=dict.fromkeys(("whisper-large-v3", "whisper-large-v3-turbo"), _OVHCLOUD),
            any_model=_OVHCLOUD,
        ),
        _Host(
            name="scaleway",
            url="https://api.scaleway.ai/v1",
            key_variable="SCW_SECRET_KEY",
            models={
                "whisper-large-v3": _TEXT,
                "voxtral-small-24b-2507": replace(_TEXT, max_duration_s=30 * 60.0),
            },
            any_model=_TEXT,
        ),
        _Host(
            name="telnyx",
            url="https://api.telnyx.com/v2/ai",
            key_variable="TELNYX_API_KEY",
            models={
                "openai/whisper-large-v3-turbo": _TELNYX,
                "distil-whisper/distil-large-v2": replace(
                    _TELNYX, timestamps=_SEGMENTS, languages=frozenset({"en"}), language_hint=False
                ),
                "deepgram/nova-3": replace(
                    _TELNYX,
                    timestamps=_SEGMENTS,
                    containers=frozenset({Container.MP3, Container.WAV}),
                    transcode_to=Container.WAV,
                ),
                "nvidia/parakeet-v3": replace(_TELNYX, language_hint=False),
            },
            any_model=_TELNYX,
        ),
        _Host(
            name="venice",
            url="https://api.venice.ai/api/v1",
            key_variable="VENICE_API_KEY",
            models=dict.fromkeys(("nvidia/parakeet-tdt-0.6b-v3", "openai/whisper-large-v3", "stt-xai-v1"), _BARE),
            any_model=_BARE,
        ),
    )
}
MODELS: Final[Mapping[str, Mapping[str, Capabilities]]] = {name: host.models for name, host in _HOSTS.items()}
"""What each service's models can do, by its name and theirs."""


@cache
def provider(name: str) -> Provider:
    """Return the service by its name."""
    host = _HOSTS[name]

    def capabilities(to: Deployment) -> Capabilities:
        return host.models.get(to.native_model, host.any_model)

    def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
        wanted = openai_form.honoured(job, capabilities(to))
        if tells := host.speakers if job.diarize else None:
            wanted = openai_form.timed(wanted)
        form = openai_form.fields(wanted, to)
        named = [(part, host.write_language(text) if part == "language" else text) for part, text in form]
        return multipart(openai_form.url(job, to), [*named, *([(tells, "true")] if tells else [])], job.audio)

    return Provider(
        name=name,
        base_urls={"api": host.url},
        key_variable=host.key_variable,
        authorize=bearer,
        capabilities=capabilities,
        transcribe=openai_form.one_call(name, capabilities, build=build_request),
    )
