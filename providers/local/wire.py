"""Local models in a process of their own, here or elsewhere, as HTTP: what is sent to them, and what they answer.

`POST /transcribe?model=...`: the job as JSON, its length in `x-job-bytes`, then the audio as it is; `x-time-left` gives
the seconds until nobody waits any more. 200 is the transcript; anything else a refusal, named as in `errors.py`.
`GET /model?model=...` answers when the model is loaded or known to be missing; `GET /health` at once, of all models to
whoever has the key. Source: this module, on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from providers.errors import (
    AttemptTimedOut,
    CredentialsRejected,
    Interrupted,
    JobRejected,
    JobUnsupported,
    MalformedReply,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    Temporary,
)
from providers.exchange import HttpRequest
from providers.local.provider import NAME
from providers.provider import Provider, one_call
from providers.types import (
    Audio,
    Capabilities,
    Container,
    GenerationParameters,
    Task,
    Timestamps,
    Transcript,
    TranscriptionJob,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

    from providers.audio.content import Content
    from providers.exchange import HttpReply
    from providers.types import Account, Deployment

ELSEWHERE: Final = "engine"  # the adapter of accounts that are such processes elsewhere
JOB_BYTES: Final = "x-job-bytes"
TIME_LEFT: Final = "x-time-left"
JOBS: Final = "x-jobs"  # with each answer: how many others the engine has, queued or running
MODEL: Final = "serve-multiplexed-model-id"  # the model once more, where Ray Serve looks for it: it never reads a query
REFUSED: Final = 422  # the status of every refusal: its kind stands in the body
MAX_JOB_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A job without its audio's bytes. Options for providers mean nothing to a local model."""

    media_type: str
    container: Container | None
    duration_s: float | None
    digest: str
    model: str
    task: Task
    language: str | None
    prompt: str | None
    timestamps: Timestamps
    generation: GenerationParameters
    diarize: bool

    def read(self, content: Content) -> TranscriptionJob:
        """Return the job with its audio."""
        return TranscriptionJob(
            model=self.model,
            audio=Audio(
                content=content,
                media_type=self.media_type,
                container=self.container,
                duration_s=self.duration_s,
                digest=self.digest,
            ),
            task=self.task,
            language=self.language,
            prompt=self.prompt,
            timestamps=self.timestamps,
            generation=self.generation,
            diarize=self.diarize,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is known of a model once loading it was tried."""

    capabilities: Capabilities | None
    missing: str | None = None  # why it could not be loaded


class State(StrEnum):
    """How a model is."""

    READY = "ready"
    LOADING = "loading"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How a model is, and how much it has to do."""

    state: State
    why: str | None = None  # it is missing
    running: int = 0  # jobs
    queued: int = 0


class Health(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an engine is."""

    status: str  # in a word
    models: dict[str, Condition] | None = None  # None: it does not tell, or not without the key


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A ProviderError on its way."""

    kind: str
    reason: str
    retry_after_s: float | None = None


_KINDS: Final[Mapping[str, type[ProviderError]]] = {
    kind.__name__: kind
    for kind in (JobRejected, JobUnsupported, RateLimited, ProviderUnavailable, AttemptTimedOut, MalformedReply)
}


_NO_ENTRY: Final = frozenset({401, 403})
_LOST: Final = frozenset({500, 502})  # what Ray Serve says of a replica that died, and a balancer of a server


def written(job: TranscriptionJob) -> bytes:
    """Return the job as JSON."""
    audio = job.audio
    return msgspec.json.encode(
        Written(
            media_type=audio.media_type,
            container=audio.container,
            duration_s=audio.duration_s,
            digest=audio.digest,
            model=job.model,
            task=job.task,
            language=job.language,
            prompt=job.prompt,
            timestamps=job.timestamps,
            generation=job.generation,
            diarize=job.diarize,
        )
    )


def refusal(error: ProviderError) -> Refusal:
    """Return the error for the wire, as the nearest kind that stands there."""
    kind = next((name for name, each in _KINDS.items() if isinstance(error, each)), ProviderUnavailable.__name__)
    after_s = error.retry_after_s if isinstance(error, Temporary) else None
    return Refusal(kind=kind, reason=error.reason, retry_after_s=after_s)


def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send the job to the model that the deployment names."""
    head = written(job)
    return HttpRequest(
        method="POST",
        url=f"{to.account.base_urls['api']}/transcribe?model={quote(to.native_model, safe='')}",
        headers={
            "content-type": "application/octet-stream",
            JOB_BYTES: str(len(head)),
            MODEL: multiplexed_id(to.native_model),
        },
        body=(head, job.audio.content),
        free=True,
        told=lambda left_s: {TIME_LEFT: f"{left_s:.3f}"},
    )


def multiplexed_id(native_model: str) -> str:
    """Return what a model is called in the header MODEL, which has no room for every letter."""
    return quote(native_model, safe="/")


def parse_reply(reply: HttpReply) -> Transcript:
    """Read a 200 reply. Raises MalformedReply."""
    heard: Transcript = decoded(reply.body, Transcript)
    return heard


def classify_error(reply: HttpReply) -> ProviderError:
    """Read a refusal; what is none comes from a process that is coming up or going down, or from whoever guards it."""
    if reply.status in _NO_ENTRY:
        return CredentialsRejected(NAME, "the engine refuses our key")
    if reply.status != REFUSED:
        lost = Interrupted if reply.status in _LOST else ProviderUnavailable
        return lost(NAME, f"the engine answered {reply.status}")
    told = decoded(reply.body, Refusal)
    kind = _KINDS.get(told.kind, ProviderUnavailable)
    if issubclass(kind, Temporary):
        return kind(NAME, told.reason, retry_after_s=told.retry_after_s)
    return kind(NAME, told.reason)


def decoded(body: bytes, kind: type[Any]) -> Any:  # noqa: ANN401 - what kind says
    """Read a value of this module. Raises MalformedReply."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedReply(NAME, "the engine's answer is unreadable") from error


def authorize(request: HttpRequest, account: Account) -> HttpRequest:
    """Add the key, where there is one: among processes of one machine the socket's folder is what lets us in."""
    if account.api_key is None:
        return request
    return replace(request, headers={**request.headers, **bearer(account.api_key)})


def bearer(key: SecretStr) -> dict[str, str]:
    """Return the header that an engine wants to see its key in."""
    return {"authorization": f"Bearer {key.get_secret_value()}"}


ENGINE = Provider(
    name=NAME,
    base_urls={},
    key_variable=None,
    authorize=authorize,
    capabilities=lambda to: Capabilities(),  # noqa: ARG005 - each model says its own once it is loaded
    transcribe=one_call(build_request, parse_reply, classify_error),
    key_required=False,
)
