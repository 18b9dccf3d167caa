"""Groq: Whisper in OpenAI's form, without subtitles, fast and with narrow rates.

Source: groq 1.7.0 (`types/audio`, `_base_client.py`), console.groq.com speech-to-text and rate limits (2026-11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace
from pydantic import BaseModel, ValidationError

from providers import openai_form
from providers.authorize import bearer
from providers.errors import ProviderUnavailable
from providers.provider import Provider
from providers.retry_after import retry_after_s
from providers.types import Capabilities, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.errors import ProviderError
    from providers.exchange import HttpReply
    from providers.types import Deployment, Transcript

NAME = "groq"
# "25 MB" there, and of which kind is not said: the smaller.
_WHISPER: Final = replace(openai_form.WHISPER, max_bytes=25_000_000 - openai_form.FORM_BYTES)
_ONLY_TRANSCRIBES: Final = replace(_WHISPER, tasks=frozenset({Task.TRANSCRIBE}))
MODELS: Final[Mapping[str, Capabilities]] = {
    "whisper-large-v3": _WHISPER,
    "whisper-large-v3-turbo": _ONLY_TRANSCRIBES,
}


def capabilities(to: Deployment) -> Capabilities:
    """Return what the model can do; of one unknown here, what all of them can."""
    return MODELS.get(to.native_model, _ONLY_TRANSCRIBES)


class _Marks(BaseModel):
    id: str


class _Marked(BaseModel):
    x_groq: _Marks


def parse_reply(reply: HttpReply) -> Transcript:
    """Read a 200, which is named in its body where no header names it. Raises MalformedReply, and nothing else."""
    heard = openai_form.parse_reply(NAME, reply)
    if heard.request_id:
        return heard
    try:
        return replace(heard, request_id=_Marked.model_validate_json(reply.body).x_groq.id)
    except ValidationError:
        return heard


_NO_PLACE: Final = frozenset({424, 498})  # what it depends on failed; the tier's capacity is used up


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx. Two of its 4xx are nobody's fault."""
    if reply.status in _NO_PLACE:
        return ProviderUnavailable(NAME, f"status {reply.status}", retry_after_s=retry_after_s(reply))
    return openai_form.classify_error(NAME, reply)


GROQ = Provider(
    name=NAME,
    base_urls={"api": "https://api.groq.com/openai/v1"},
    key_variable="GROQ_API_KEY",
    authorize=bearer,
    capabilities=capabilities,
    transcribe=openai_form.one_call(NAME, capabilities, parse=parse_reply, classify=classify_error),
)
