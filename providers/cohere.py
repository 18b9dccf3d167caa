"""Cohere Transcribe: text alone, of a language that must be named.

An account's option `language` is what it is told where the caller names none.

Source: cohere 7.3.1 (`audio/transcriptions`, `errors`), docs.cohere.com/docs/transcribe and its API reference (2026).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from providers import openai_form
from providers.authorize import bearer
from providers.bodies import multipart
from providers.errors import CredentialsRejected, JobUnsupported, ProviderUnavailable, QuotaExhausted
from providers.provider import Provider, one_call
from providers.refusals import by_reply
from providers.types import Capabilities, Container

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.errors import ProviderError
    from providers.exchange import HttpReply, HttpRequest
    from providers.types import Deployment, Transcript, TranscriptionJob

NAME = "cohere"
_TRANSCRIBE: Final = Capabilities(
    generation=frozenset({"temperature"}),
    languages=frozenset({"en", "de", "fr", "it", "es", "pt", "el", "nl", "pl", "vi", "zh", "ar", "ja", "ko"}),
    containers=frozenset({Container.FLAC, Container.MP3, Container.OGG, Container.WAV}),
    max_bytes=25_000_000 - openai_form.FORM_BYTES,  # "25 MB", and of which kind is not said: the smaller
)
MODELS: Final[Mapping[str, Capabilities]] = {"cohere-transcribe-03-2026": _TRANSCRIBE}


def capabilities(to: Deployment) -> Capabilities:
    """Return what the model can do; of one unknown here, the same."""
    return MODELS.get(to.native_model, _TRANSCRIBE)


def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send the form. Raises JobUnsupported where nobody says which language it is."""
    language = job.language or to.account.options.get("language")
    if not language:
        raise JobUnsupported(NAME, "it detects no language: name it")
    form = [("model", to.native_model), ("language", openai_form.language(language))]
    if job.generation.temperature is not None:
        form.append(("temperature", openai_form.text_of(job.generation.temperature)))
    return multipart(f"{to.account.base_urls['api']}/v2/audio/transcriptions", form, job.audio)


def parse_reply(reply: HttpReply) -> Transcript:
    """Read a 200. Raises MalformedReply, and nothing else."""
    return openai_form.parse_reply(NAME, reply)


_A_MONTH: Final = re.compile(r"calls? ?/ ?month", re.IGNORECASE)


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx. Two statuses are its own, and of a trial's limits one lasts for a month."""
    if reply.status == 498:
        return CredentialsRejected(NAME, "status 498")
    if reply.status == 499:
        return ProviderUnavailable(NAME, "status 499", retry_after_s=None)
    if reply.status == 429 and _A_MONTH.search(reply.said):
        return QuotaExhausted(NAME, "the month's calls are used up")
    return by_reply(NAME, reply)


COHERE = Provider(
    name=NAME,
    base_urls={"api": "https://api.cohere.com"},
    key_variable="CO_API_KEY",
    authorize=bearer,
    capabilities=capabilities,
    transcribe=openai_form.within_limits(NAME, one_call(build_request, parse_reply, classify_error)),
)
