"""Azure OpenAI: OpenAI's models behind deployments that an operator named.

A native id is `model:deployment`, of which the first half says what it can do and costs; alone it is both. `base_url`
is the resource's. Options of an account: `api_version`, a date for the classic routes, else the v1 API is asked
(`preview`: its preview); `auth: entra`, where the key is a token of Microsoft Entra ID.

Source: openai 3.54.0 (`lib/azure.py`), learn.microsoft.com quickstart for Whisper, quotas and the v1 preview reference
(2026-11); `-1` in headers: openai-dotnet 838.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from msgspec.structs import replace

from providers import openai, openai_form
from providers.authorize import check_entra, key_or_entra
from providers.bodies import multipart
from providers.errors import ProviderUnavailable
from providers.openai import OpenAIOptions
from providers.provider import Provider, one_call, options_for
from providers.retry_after import retry_after_s
from providers.types import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.errors import ProviderError
    from providers.exchange import HttpReply, HttpRequest
    from providers.types import Capabilities, Deployment, Transcript, TranscriptionJob

NAME = "azure-openai"


class AzureOptions(OpenAIOptions):
    """What a caller may set besides the job: what OpenAI takes."""


# When a model retires there depends on its version and region, and each resource's own page tells: no date here.
_OPENAIS: Final = {"whisper": "whisper-1"} | {
    name: name
    for name in ("gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-transcribe-diarize")
}
MODELS: Final[Mapping[str, Capabilities]] = {
    name: replace(openai.MODELS[there], retires_on=None) for name, there in _OPENAIS.items()
}
_ANY_MODEL: Final = replace(openai_form.PLAIN, max_bytes=openai.MAX_BYTES)
_DATED: Final = re.compile(r"20\d\d-[01]\d-[0-3]\d(-preview)?", re.ASCII)


def capabilities(to: Deployment) -> Capabilities:
    """Return what the model can do. Raises ValueError where the account's options are none."""
    version = to.account.options.get("api_version", "")
    if version not in {"", "v1", "preview"} and not _DATED.fullmatch(version):
        raise ValueError("options.api_version must be v1, preview or a date such as 2025-03-01-preview")
    check_entra(to.account)
    return MODELS.get(_halves(to)[0], _ANY_MODEL)


def _halves(to: Deployment) -> tuple[str, str]:
    """Return the model and its deployment."""
    model, _, deployment = to.native_model.partition(":")
    return model, deployment or model


# --- what is sent


def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send OpenAI's form of that model, under the deployment's name."""
    model, deployment = _halves(to)
    can = capabilities(to)
    form = openai.form(job, replace(to, native_model=model), can, options_for(job, NAME, can))
    named = [(name, deployment if name == "model" else text) for name, text in form]
    return multipart(_url(job, to, deployment), named, job.audio)


def _url(job: TranscriptionJob, to: Deployment, deployment: str) -> str:
    root, version = to.account.base_urls["api"].removesuffix("/openai/v1"), to.account.options.get("api_version", "")
    task = "translations" if job.task is Task.TRANSLATE else "transcriptions"
    query = f"?{urlencode({'api-version': version})}" if version else ""
    if _DATED.fullmatch(version):
        return f"{root}/openai/deployments/{quote(deployment, safe='')}/audio/{task}{query}"
    return f"{root}/openai/v1/audio/{task}{query}"


# --- what comes back


def parse_reply(reply: HttpReply) -> Transcript:
    """Read a 200. Raises MalformedReply, and nothing else."""
    heard = openai_form.parse_reply(NAME, reply)
    return replace(heard, request_id=reply.headers.get("apim-request-id") or heard.request_id)


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx. A 424 is about what stands behind the deployment."""
    if reply.status == 424:
        return ProviderUnavailable(NAME, "status 424", retry_after_s=retry_after_s(reply))
    return openai_form.classify_error(NAME, reply)


AZURE_OPENAI = Provider(
    name=NAME,
    base_urls={},
    key_variable=None,
    authorize=key_or_entra("api-key"),
    capabilities=capabilities,
    transcribe=openai_form.within_limits(NAME, one_call(build_request, parse_reply, classify_error)),
    options=AzureOptions,
)
