"""What services that answer later have in common: a job submitted once, asked after, and the pauses between."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Annotated, Final, Protocol, TypeAlias, TypeVar

from msgspec.structs import replace
from pydantic import BaseModel, Field, ValidationError

from providers.errors import FateUnknown, MalformedReply, ProviderUnavailable, ReplyCutOff, Temporary
from providers.exchange import TRANSIENT, Wait
from providers.provider import succeeded
from providers.retry_after import retry_after_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from providers.errors import ProviderError
    from providers.exchange import Exchange, HttpReply, HttpRequest

T = TypeVar("T", bound=BaseModel)
S = TypeVar("S", bound="State")

Url: TypeAlias = Annotated[str, Field(pattern=r"^https?://[^/\s]+/\S*$")]
"""A URL in a reply. Whether it may be gone to is for the transport to say."""
_READING_S: Final = 30.0  # of one reading: what hangs is asked again, for the job is not what hangs
_FORGIVEN_S: Final = (0.5, 1.0, 2.0, 4.0)  # pauses after failed readings
_LONGEST_PAUSE_S: Final = 10.0  # whatever a rate limit asks for: a result does not wait for ever


def parse(provider: str, model: type[T], reply: HttpReply) -> T:
    """Read a reply's JSON. Raises MalformedReply, and nothing else."""
    try:
        return model.model_validate_json(reply.body)
    except ValidationError as error:
        raise MalformedReply(provider, f"a {reply.status} that is no {model.__name__.strip('_').lower()}") from error


def submit(request: HttpRequest, classify_error: Callable[[HttpReply], ProviderError]) -> Exchange[HttpReply]:
    """Start a job. Raises FateUnknown where it may have begun all the same: no service here knows a job again.

    A 4xx is a refusal; a 5xx may come from something between us and the service.
    """
    reply = yield replace(request, once=True, bills=True)
    if reply is not None and reply.status >= 500:
        error = classify_error(reply)
        raise FateUnknown(
            error.provider,
            f"{error.reason}; a run may have started, and is billed then",
            retry_after_s=retry_after_s(reply),
        )
    return succeeded(reply, classify_error)


def pauses() -> Iterator[float]:
    """Seconds between polls: half a second at first, as the HF client and Replicate's SDK have it, growing to two.

    After a minute five: who has waited for so long does not mind, and services count how often they are asked.
    """
    yield from (0.5, 0.5, 0.75, 1.0, 1.5)
    yield from repeat(2.0, 28)
    yield from repeat(5.0)


class State(Protocol):
    """What is said of a job."""

    @property
    def is_over(self) -> bool:
        """Whether that will change no more, for better or worse."""
        ...


def until_over(read: Callable[[], Exchange[S]], between: Iterator[float]) -> Exchange[S]:
    """Read a job's state until it is over. between: seconds before each reading."""
    while True:
        yield Wait(next(between))
        state = yield from read()
        if state.is_over:
            return state


def is_transient(reply: HttpReply) -> bool:
    """Tell whether the reading failed, and not the job."""
    return reply.status in TRANSIENT


def ask(
    request: HttpRequest,
    is_transient: Callable[[HttpReply], bool],
    classify_error: Callable[[HttpReply], ProviderError],
) -> Exchange[HttpReply]:
    """Read something of a job that was accepted. Some failed readings are forgiven: it runs on, and is paid for.

    Raises FateUnknown where that was in vain, and whatever is said of the job itself.
    """
    request = replace(request, within_s=_READING_S)
    for pause_s in _FORGIVEN_S:
        read = yield from _read_once(request, is_transient, classify_error)
        if not isinstance(read, Exception):
            return read
        asked_s = read.retry_after_s if isinstance(read, Temporary) else None
        yield Wait(max(pause_s, min(asked_s or 0.0, _LONGEST_PAUSE_S)))
    read = yield from _read_once(request, is_transient, classify_error)
    if isinstance(read, Exception):
        raise FateUnknown(read.provider, f"lost sight of the job: {read.reason}") from read
    return read


def _read_once(
    request: HttpRequest,
    is_transient: Callable[[HttpReply], bool],
    classify_error: Callable[[HttpReply], ProviderError],
) -> Exchange[HttpReply | ProviderError]:
    """Return the reply, or what kept it from being read. Raises what is said of the job."""
    try:
        reply = yield request
    except (ProviderUnavailable, ReplyCutOff) as error:
        return error
    if reply is not None and is_transient(reply):
        return classify_error(reply)
    return succeeded(reply, classify_error)
