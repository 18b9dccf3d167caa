"""Cloudflare Workers AI: Whisper behind an envelope. The newest takes JSON with the audio in it, the others bytes.

Source: cloudflare 5.9.0, cloudflare/cloudflare-docs (workers-ai-models, `errors.mdx`), @cloudflare/workers-types
5.20261117.1. An account's address holds whose account it is, and ends in `/ai/run`; one of AI Gateway ends in
`/workers-ai`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec
from msgspec.structs import replace
from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from providers import openai_form
from providers.authorize import bearer
from providers.bodies import AUDIO, json_with_audio
from providers.errors import MalformedReply, QuotaExhausted
from providers.exchange import HttpRequest
from providers.languages import code_of
from providers.provider import Provider, ProviderOptions, one_timed_call, options_for
from providers.refusals import by_reply
from providers.types import Capabilities, Container, Task, Timestamps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.errors import ProviderError
    from providers.exchange import HttpReply
    from providers.types import Deployment, Transcript, TranscriptionJob

NAME = "cloudflare"


class CloudflareOptions(ProviderOptions):
    """What a caller may set besides, of Whisper large-v3-turbo."""

    vad_filter: bool | None = None
    prefix: str | None = Field(default=None, min_length=1, max_length=2000)
    condition_on_previous_text: bool | None = None
    no_speech_threshold: float | None = Field(default=None, ge=0, le=1)
    compression_ratio_threshold: float | None = Field(default=None, gt=0, le=100)
    log_prob_threshold: float | None = Field(default=None, ge=-100, le=0)
    hallucination_silence_threshold: float | None = Field(default=None, ge=0, le=600)  # seconds


# --- what each model can do

_BYTES_ONLY: Final = Capabilities(
    timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
    language_hint=False,
    containers=frozenset(
        {
            Container.WAV,
            Container.MP3,
            Container.FLAC,
            Container.OGG,
            Container.MP4,
            Container.WEBM,
        }
    ),
    max_bytes=15 * 1024 * 1024,  # unconfirmed: nothing is said but that the whole body has a limit
)
_TURBO: Final = "@cf/openai/whisper-large-v3-turbo"
MODELS: Final[Mapping[str, Capabilities]] = {
    _TURBO: replace(
        _BYTES_ONLY,
        generation=frozenset({"num_beams"}),
        tasks=frozenset(Task),
        language_hint=True,
        prompt=True,
        options=frozenset(CloudflareOptions.model_fields),
    ),
    "@cf/openai/whisper": _BYTES_ONLY,
    "@cf/openai/whisper-tiny-en": replace(_BYTES_ONLY, languages=frozenset({"en"})),
}


def capabilities(to: Deployment) -> Capabilities:
    """Return what the model can do; of one unknown here, what takes nothing but audio."""
    return MODELS.get(to.native_model, _BYTES_ONLY)


# --- what is sent


def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send JSON to the model that takes it, and else the bytes as they came."""
    url = f"{to.account.base_urls['api']}/{quote(to.native_model, safe='/@')}"
    if to.native_model != _TURBO:
        octets = {"content-type": "application/octet-stream"}
        return HttpRequest(method="POST", url=url, headers=octets, body=(job.audio.content,))
    body = json_with_audio({"audio": AUDIO, **_fields(job, to)}, job.audio, data_uri=False)
    return HttpRequest(method="POST", url=url, headers={"content-type": "application/json"}, body=body)


def _fields(job: TranscriptionJob, to: Deployment) -> dict[str, object]:
    fields: dict[str, object] = {"task": job.task.value}
    if job.language:
        fields["language"] = code_of(job.language) or job.language
    if job.prompt:
        fields["initial_prompt"] = job.prompt
    if job.generation.num_beams is not None:
        fields["beam_size"] = job.generation.num_beams
    return fields | options_for(job, NAME, capabilities(to))


# --- what comes back


class _Info(BaseModel):
    language: str | None = None
    duration: FiniteFloat | None = Field(default=None, ge=0)


class _Result(openai_form.Reply):
    transcription_info: _Info = _Info()


class _Reply(BaseModel):
    result: _Result


def parse_reply(reply: HttpReply) -> Transcript:
    """Read a 200: words stand in segments, or alone. Raises MalformedReply, and nothing else."""
    try:
        heard = _Reply.model_validate_json(reply.body).result
    except ValidationError as error:
        raise MalformedReply(NAME, "a 200 without a transcription's JSON") from error
    info = heard.transcription_info
    return replace(
        openai_form.transcript(heard, reply),
        language=code_of(info.language or ""),
        duration_s=info.duration,
        request_id=reply.headers.get("cf-ray"),
    )


# --- what went wrong


class _Fault(msgspec.Struct):
    code: int = 0


class _Faults(msgspec.Struct):
    errors: list[_Fault] = []


_FREE_PART_IS_USED_UP: Final = 3036


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx. A 429 may also say that nothing is free any more until tomorrow."""
    try:
        codes = {each.code for each in msgspec.json.decode(reply.body, type=_Faults).errors}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        codes = set()
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS and _FREE_PART_IS_USED_UP in codes:
        return QuotaExhausted(NAME, "what is free of a day is used up")
    return by_reply(NAME, reply)


CLOUDFLARE = Provider(
    name=NAME,
    base_urls={},
    key_variable=None,
    authorize=bearer,
    capabilities=capabilities,
    transcribe=one_timed_call(build_request, parse_reply, classify_error),
    options=CloudflareOptions,
)
