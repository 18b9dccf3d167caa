"""DeepInfra: its own form, which tells the price of each call, and its OpenAI form, all that the HF router serves.

Source: deepinfra 0.3.0 (`types/automatic_speech_recognition`, `_exceptions.py`), DeepInfra's openapi.json (2026-05-20),
huggingface_hub 2.4.0 `inference/_providers/deepinfra.py`, model pages of deepinfra.com (2026).
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import quote, urlencode, urlsplit

from msgspec.structs import replace
from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from providers import openai_form
from providers.authorize import bearer
from providers.bodies import multipart
from providers.errors import JobUnsupported, MalformedReply, ProviderUnavailable, RateLimited
from providers.provider import Provider, ProviderOptions, one_call
from providers.refusals import by_reply
from providers.retry_after import retry_after_s
from providers.types import Capabilities, Task, Timestamps, option_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.errors import ProviderError
    from providers.exchange import Exchange, HttpReply, HttpRequest
    from providers.types import Account, Deployment, Transcript, TranscriptionJob

NAME = "deepinfra"
_ROUTER = "router.huggingface.co"


class DeepInfraOptions(ProviderOptions):
    """What a caller may set besides; only the native form knows it."""

    chunk_length_s: Annotated[int, Field(ge=1, le=30)] | None = None  # seconds the model hears at once; 30 there
    version: Annotated[str, Field(pattern="^[0-9A-Za-z._-]{1,64}$")] | None = None  # of the model


# --- what each model can do

_TIMED: Final = frozenset({Timestamps.SEGMENT, Timestamps.WORD})
_ANY_WHISPER: Final = Capabilities(generation=frozenset({"temperature"}), timestamps=_TIMED, prompt=True)
_VOXTRAL: Final = Capabilities(generation=frozenset({"temperature"}))  # a language model that listens: no times

MODELS: Final[Mapping[str, Capabilities]] = {
    "openai/whisper-large-v3": replace(_ANY_WHISPER, tasks=frozenset(Task)),
    "openai/whisper-large-v3-turbo": _ANY_WHISPER,  # not trained to translate: it writes down what it hears
    "openai/whisper-large-v3-turbo-vllm": _ANY_WHISPER,
    "distil-whisper/distil-large-v3": replace(_ANY_WHISPER, languages=frozenset({"en"})),
    "mistralai/Voxtral-Mini-3B-2507": _VOXTRAL,
    "mistralai/Voxtral-Small-24B-2507": _VOXTRAL,
}


def capabilities(to: Deployment) -> Capabilities:
    """Return what the model can do in the form its account speaks; a model unknown here is taken for a Whisper."""
    model = MODELS.get(to.native_model, _ANY_WHISPER)
    if not speaks_openai_form(to.account):
        return replace(model, options=frozenset(DeepInfraOptions.model_fields))
    tasks = frozenset({Task.TRANSCRIBE}) if _is_router(to.account.base_urls["api"]) else model.tasks
    return replace(model, tasks=tasks, translation_hint=False)


@lru_cache(maxsize=256)
def _is_router(url: str) -> bool:
    """Tell the HF router, which knows no route to translate by. The same few URLs are asked about at every job."""
    return urlsplit(url).hostname == _ROUTER


# --- what is sent


def speaks_openai_form(account: Account) -> bool:
    """Tell whether the account takes the OpenAI form: it says so, or it lies behind the HF router."""
    return account.options.get("form") == "openai" or _is_router(account.base_urls["api"])


def transcribe(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
    """Take one call, in the form that the account speaks."""
    return (_IN_OPENAI_FORM if speaks_openai_form(to.account) else _IN_NATIVE_FORM)(job, to)


def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send the native form: `/inference/{model}`, the audio in a part named `audio`."""
    options = option_values(job, NAME)
    query = urlencode({"version": options["version"]}) if "version" in options else ""
    url = f"{to.account.base_urls['api']}/inference/{quote(to.native_model)}"
    form = _native_fields(openai_form.honoured(job, capabilities(to)))
    return multipart(f"{url}?{query}" if query else url, form, job.audio, part="audio")


def _native_fields(job: TranscriptionJob) -> list[tuple[str, str]]:
    """Return the text parts; each left out where its default is what is wanted."""
    form: list[tuple[str, str]] = []
    if job.task is Task.TRANSLATE:
        form.append(("task", "translate"))
    if job.prompt:
        form.append(("initial_prompt", job.prompt))
    if job.generation.temperature is not None:
        form.append(("temperature", openai_form.text_of(job.generation.temperature)))
    if job.language:
        form.append(("language", openai_form.language(job.language)))
    if job.timestamps is Timestamps.WORD:
        form.append(("chunk_level", "word"))
    if (chunk_length_s := option_values(job, NAME).get("chunk_length_s")) is not None:
        form.append(("chunk_length_s", str(chunk_length_s)))
    return form


def build_openai_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send the OpenAI form. `timestamp_granularities` goes without brackets: so the published document names it."""
    base = to.account.base_urls["api"].removesuffix("/v1")
    route = "translations" if job.task is Task.TRANSLATE else "transcriptions"
    wanted = openai_form.honoured(job, capabilities(to))
    form = openai_form.fields(wanted, to, granularities="timestamp_granularities")
    return multipart(f"{base}/v1/openai/audio/{route}", form, job.audio)


# --- what comes back


class _InferenceStatus(BaseModel):
    status: str = "succeeded"
    cost: FiniteFloat | None = None  # US dollars, of this very call


class _Billed(BaseModel):
    inference_status: _InferenceStatus = _InferenceStatus()
    request_id: str | None = None
    input_length_ms: FiniteFloat | None = None


def parse_reply(reply: HttpReply) -> Transcript:
    """Read a 200 of the native form: OpenAI's names, with what was billed. Its words are named `text`.

    Raises ProviderUnavailable where it says that the inference failed, else MalformedReply.
    """
    try:
        billed = _Billed.model_validate_json(reply.body)
    except ValidationError as error:
        raise MalformedReply(NAME, "a 200 without an inference's JSON") from error
    status, cost_usd = billed.inference_status.status, billed.inference_status.cost
    if status == "failed":
        raise ProviderUnavailable(NAME, "a 200 that says the inference failed")
    if status != "succeeded":  # queued is an answer to a webhook, and we send none
        raise MalformedReply(NAME, "a 200 for an inference that is not done")
    heard = openai_form.parse_reply(NAME, reply)
    length_s = None if billed.input_length_ms is None or billed.input_length_ms < 0 else billed.input_length_ms / 1000
    return replace(
        heard,
        duration_s=length_s if heard.duration_s is None else heard.duration_s,
        cost_usd=cost_usd if cost_usd is not None and cost_usd >= 0 else None,
        request_id=billed.request_id or heard.request_id,
    )


def parse_openai_reply(reply: HttpReply) -> Transcript:
    """Read a 200 of the OpenAI form. Raises MalformedReply, and nothing else."""
    return openai_form.parse_reply(NAME, reply)


# --- what went wrong

_NO_MODEL: Final = re.compile(r"\bmodel\b", re.IGNORECASE)


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx, of either form.

    405 is what its firewall says of an upload it misreads (deepinfra-node#68): another provider will not.
    """
    match reply.status:
        case 423:
            return RateLimited(NAME, "the model is starting", retry_after_s=retry_after_s(reply))
        case 403 | 404 if _NO_MODEL.search(read_error(reply)):
            return JobUnsupported(NAME, "it does not serve this model to this account")
        case 405:
            return JobUnsupported(NAME, "its firewall refused the upload")
        case _:
            return by_reply(NAME, reply)


def read_error(reply: HttpReply) -> str:
    """Return what an error says, looked for in the order of DeepInfra's own SDK; "" where it says nothing.

    `error`, `error.message`, `detail`, `detail.error`, `detail.message`. For deciding by, never for showing.
    """
    try:
        body = json.loads(reply.body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(body, dict):
        return ""
    error, detail = body.get("error"), body.get("detail")
    inner, outer = (value if isinstance(value, dict) else {} for value in (error, detail))
    candidates = (error, inner.get("message"), detail, outer.get("error"), outer.get("message"))
    return next((said for said in candidates if isinstance(said, str) and said), "")


_IN_NATIVE_FORM: Final = one_call(build_request, parse_reply, classify_error)
_IN_OPENAI_FORM: Final = one_call(build_openai_request, parse_openai_reply, classify_error)

DEEPINFRA = Provider(
    name=NAME,
    base_urls={"api": "https://api.deepinfra.com/v1"},
    key_variable="DEEPINFRA_API_KEY",
    authorize=bearer,
    capabilities=capabilities,
    transcribe=transcribe,
    options=DeepInfraOptions,
)
