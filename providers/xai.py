"""xAI speech-to-text: a form of its own with the audio last; words back, and no sentences.

Source: docs.x.ai's pages on speech to text, @ai-sdk/xai 5.0.12, litellm 1.109.1 `llms/xai` (2026-11). It tells the
language by itself: one that is named only has numbers and the like written as that language does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from providers import openai_form
from providers.authorize import bearer
from providers.bodies import multipart
from providers.provider import Provider, ProviderOptions, one_timed_call, options_for
from providers.types import Capabilities, Container, Timestamps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.errors import ProviderError
    from providers.exchange import HttpReply, HttpRequest
    from providers.types import Deployment, Transcript, TranscriptionJob

NAME = "xai"


class XaiOptions(ProviderOptions):
    """What a caller may set besides."""

    keyterm: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        default=None, min_length=1, max_length=100
    )
    format: bool | None = None  # True unless set, where the language is named: numbers as they are written
    filler_words: bool | None = None


_GROK: Final = Capabilities(
    timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
    diarize=True,
    options=frozenset(XaiOptions.model_fields),
    containers=frozenset(
        {
            Container.WAV,
            Container.MP3,
            Container.OGG,
            Container.FLAC,
            Container.AAC,
            Container.MP4,
        }
    ),
    max_bytes=500_000_000,  # unconfirmed
)
MODELS: Final[Mapping[str, Capabilities]] = {"grok-voice-transcribe-2.0": _GROK}


def capabilities(to: Deployment) -> Capabilities:
    """Return what the model can do; of one unknown here, the same."""
    return MODELS.get(to.native_model, _GROK)


def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send the form; a list is a part repeated."""
    fields: dict[str, object] = {"model": to.native_model}
    if job.language:
        fields |= {"language": openai_form.language(job.language), "format": True}
    if job.diarize:
        fields["diarize"] = True
    fields |= options_for(job, NAME, capabilities(to))
    if not job.language:
        fields.pop("format", None)  # refused without a language
    return multipart(f"{to.account.base_urls['api']}/stt", openai_form.repeated(fields), job.audio)


def parse_reply(reply: HttpReply) -> Transcript:
    """Read a 200: OpenAI's verbose_json, but for segments. Raises MalformedReply, and nothing else."""
    return openai_form.parse_reply(NAME, reply)


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx, in any of the three shapes its errors have."""
    return openai_form.classify_error(NAME, reply)


XAI = Provider(
    name=NAME,
    base_urls={"api": "https://api.x.ai/v1"},
    key_variable="XAI_API_KEY",
    authorize=bearer,
    capabilities=capabilities,
    transcribe=one_timed_call(build_request, parse_reply, classify_error),
    options=XaiOptions,
)
