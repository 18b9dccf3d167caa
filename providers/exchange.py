"""What an adapter may ask of the network, and the one loop that grants it.

An adapter is pure: it yields requests and waits, and is sent replies. It never sees a socket, a clock or a
credential, so a test drives it by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from providers.errors import AttemptTimedOut, ProviderError
from providers.types import Moment

if TYPE_CHECKING:
    from providers.audio.content import Content

T = TypeVar("T")

CLEANUP_S = 5.0  # how long a cancelled job's own clean-up may take


@dataclass(frozen=True, slots=True)
class Base64:
    """The content as base64 text, encoded slice by slice as it is sent."""

    content: Content

    @property
    def size_bytes(self) -> int:
        return (self.content.size_bytes + 2) // 3 * 4


Piece: TypeAlias = "bytes | Content | Base64"
Body: TypeAlias = tuple[Piece, ...]
"""A request body in pieces of known size: it is never joined in memory, and can be sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One HTTP call, without a credential: `authorize` adds that last."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)  # lower-case names
    body: Body = ()
    anonymous: bool = False  # True: no credential is added, wherever it goes


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply:
    """A reply, read to its end."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)  # lower-case names
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask to be resumed after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class IfAbandoned:
    """Ask that this be sent if the caller leaves, or the time is up, before the exchange returns."""

    request: HttpRequest


@dataclass(frozen=True, slots=True)
class Afterwards:
    """Ask that this be sent when the exchange is over, however it ends: uploaded audio is deleted so."""

    request: HttpRequest


Step: TypeAlias = HttpRequest | Wait | IfAbandoned | Afterwards
Exchange: TypeAlias = Generator[Step, HttpReply | None, T]
"""A call in several steps. HttpRequest is answered with its reply, everything else with None."""


class Send(Protocol):
    """Sends one request under a deadline. Raises ProviderError only."""

    async def __call__(self, request: HttpRequest, deadline: Moment, /) -> HttpReply: ...


async def run(
    exchange: Exchange[T],
    send: Send,
    *,
    provider: str,
    deadline: Moment,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """Grant the exchange what it asks for until it returns.

    Raises ProviderError. AttemptTimedOut where a wait would end after the deadline.
    """
    granter = _Granter(provider, send, deadline, clock, sleep)
    abandoned = True
    try:
        step = next(exchange)
        while True:
            step = exchange.send(await granter.grant(step))
    except StopIteration as returned:
        abandoned = False
        result: T = returned.value
        return result
    except ProviderError:
        # Ended by its own reading of a reply, it leaves nothing to cancel; cut off by the network or the time, it does.
        abandoned = inspect.getgeneratorstate(exchange) != inspect.GEN_CLOSED
        raise
    finally:
        exchange.close()
        left_over = [*(granter.if_abandoned if abandoned else ()), *granter.afterwards]
        if left_over:
            await _to_the_end(_clean_up(left_over, send, clock))


@dataclass(slots=True)
class _Granter:
    """Answers one exchange's steps, and keeps what it asked to be sent at the end."""

    provider: str
    send: Send
    deadline: Moment
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    if_abandoned: list[HttpRequest] = field(default_factory=list)
    afterwards: list[HttpRequest] = field(default_factory=list)

    async def grant(self, step: Step) -> HttpReply | None:
        match step:
            case HttpRequest():
                return await self.send(step, self.deadline)
            case Wait(seconds):
                if self.clock() + seconds > self.deadline:
                    raise AttemptTimedOut(self.provider, "still working at the deadline")
                await self.sleep(seconds)
            case IfAbandoned(request):
                self.if_abandoned.append(request)
            case Afterwards(request):
                self.afterwards.append(request)
        return None


async def _clean_up(requests: list[HttpRequest], send: Send, clock: Callable[[], float]) -> None:
    """Send what must still be sent. A failure here costs the provider storage, never the caller an answer."""
    for request in requests:
        with contextlib.suppress(ProviderError):
            await send(request, Moment(clock() + CLEANUP_S))


async def _to_the_end(work: Coroutine[object, object, None]) -> None:
    """Await work that has a limit of its own, however often the waiting task is cancelled; then let that through."""
    task = asyncio.create_task(work)  # noqa: TID251 - owned here: this does not return before it is done
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled:
        raise cancelled
