"""Hugging Face hf-inference, and dedicated Inference Endpoints (an account whose deployments name no model).

Source: huggingface_hub 2.4.0 `inference/_providers/hf_inference.py`, @huggingface/tasks 0.21.54 (ASR specification),
huggingface-inference-toolkit `webservice_starlette.py` (2025-08-25).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from pydantic import BaseModel, FiniteFloat, ValidationError

from providers.authorize import bearer
from providers.bodies import AUDIO, json_with_audio
from providers.errors import JobRejected, MalformedReply, RateLimited
from providers.exchange import HttpReply, HttpRequest
from providers.provider import Provider, succeeded
from providers.refusals import by_reply
from providers.retry_after import retry_after_s
from providers.spans import segment, word
from providers.types import GENERATION_NAMES, Capabilities, Container, Task, Timestamps, Transcript

if TYPE_CHECKING:
    from providers.errors import ProviderError
    from providers.exchange import Exchange
    from providers.types import Audio, Deployment, TranscriptionJob

NAME = "hf-inference"
_MAX_BYTES = 25 * 1024 * 1024  # not published; larger ones come back as 413 or 504
_NOT_DECODED = re.compile(r"malformed soundfile|soundfile|could not decode|ffmpeg", re.IGNORECASE)

# The toolkit refuses types it does not list, audio/mp4 among them.
_LABELS: Final = {
    Container.WAV: "audio/wav",
    Container.FLAC: "audio/flac",
    Container.MP3: "audio/mpeg",
    Container.OGG: "audio/ogg",
    Container.WEBM: "audio/webm",
    Container.MP4: "audio/m4a",
    Container.AMR: "audio/AMR",
}


def transcribe(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
    """Take one call. What its chunks are, words or segments, only the question tells."""
    reply = yield build_request(job, to)
    return parse_reply(succeeded(reply, classify_error), job.timestamps)


def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send raw bytes where no parameter is asked for: the body is then the upload as it came."""
    parameters = _parameters(job)
    if not parameters:
        return HttpRequest(
            method="POST",
            url=_url(to),
            headers={"content-type": _label(job.audio)},
            body=(job.audio.content,),
            bills=True,
        )
    return HttpRequest(
        method="POST",
        url=_url(to),
        headers={"content-type": "application/json"},
        body=json_with_audio({"inputs": AUDIO, "parameters": parameters}, job.audio, data_uri=False),
        bills=True,
    )


def _label(audio: Audio) -> str:
    return _LABELS.get(audio.container, audio.media_type) if audio.container else audio.media_type


def _url(to: Deployment) -> str:
    return _url_of(to.account.base_urls["api"], to.native_model)


@lru_cache(maxsize=256)
def _url_of(base: str, native_model: str) -> str:
    return f"{base}/models/{quote(native_model)}" if native_model else f"{base}/"


def _parameters(job: TranscriptionJob) -> dict[str, object]:
    """Return the specification's `parameters`; language and task ride where transformers reads them."""
    generation = dict(job.generation.given())
    if job.language:
        generation["language"] = job.language
    if job.task is Task.TRANSLATE:
        generation["task"] = job.task.value
    parameters: dict[str, object] = {"generation_parameters": generation} if generation else {}
    match job.timestamps:
        case Timestamps.SEGMENT:
            parameters["return_timestamps"] = True
        case Timestamps.WORD:
            parameters["return_timestamps"] = "word"
    return parameters


class _Chunk(BaseModel):
    text: str
    timestamp: tuple[FiniteFloat | None, FiniteFloat | None]


class _Reply(BaseModel):
    text: str
    chunks: list[_Chunk] | None = None


def parse_reply(reply: HttpReply, timestamps: Timestamps) -> Transcript:
    """Read a 200 reply to a request for such timestamps. Raises MalformedReply, and nothing else."""
    try:
        heard = _Reply.model_validate_json(reply.body, strict=False)
    except ValidationError as error:
        raise MalformedReply(NAME, "a 200 without the specification's JSON") from error
    chunks = heard.chunks or []
    if timestamps is Timestamps.WORD:
        return Transcript(text=heard.text.strip(), words=tuple(word(chunk.text, *chunk.timestamp) for chunk in chunks))
    return Transcript(
        text=heard.text.strip(), segments=tuple(segment(chunk.text, *chunk.timestamp) for chunk in chunks)
    )


class _Error(BaseModel):
    error: str | list[str] = ""
    estimated_time: FiniteFloat | None = None


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx. 503 "currently loading" says how long it will take."""
    try:
        body = _Error.model_validate_json(reply.body)
    except ValidationError:
        body = _Error()
    words = body.error if isinstance(body.error, str) else "; ".join(body.error)
    if reply.status == 400 and _NOT_DECODED.search(words):
        return JobRejected(NAME, "the audio could not be decoded there")
    if reply.status == 503 and body.estimated_time is not None:
        return RateLimited(NAME, "the model is loading", retry_after_s=retry_after_s(reply))
    return by_reply(NAME, reply)


_CAPABILITIES = Capabilities(
    generation=frozenset(GENERATION_NAMES),
    timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
    tasks=frozenset(Task),
    containers=frozenset(_LABELS),
    max_bytes=_MAX_BYTES,
)

HF_INFERENCE = Provider(
    name=NAME,
    base_urls={"api": "https://router.huggingface.co/hf-inference"},
    key_variable="HF_TOKEN",
    key_required=False,
    authorize=bearer,
    capabilities=lambda _: _CAPABILITIES,
    transcribe=transcribe,
)
