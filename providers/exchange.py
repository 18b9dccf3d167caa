"""What an adapter may ask of the network, and the one loop that grants it.

An adapter is pure: it yields requests and waits, and is sent replies. It never sees a socket, a clock or a
credential, so a test drives it by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from providers.errors import AttemptTimedOut

if TYPE_CHECKING:
    from providers.audio.content import Content
    from providers.types import Moment

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

    async def __call__(self, request: HttpRequest, deadline: Moment) -> HttpReply: ...


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
    if_abandoned: list[HttpRequest] = []
    afterwards: list[HttpRequest] = []
    finished = False
    try:
        step = next(exchange)
        while True:
            answer: HttpReply | None = None
            match step:
                case HttpRequest():
                    answer = await send(step, deadline)
                case Wait(seconds):
                    if clock() + seconds > deadline:
                        raise AttemptTimedOut(provider, "still working at the deadline")
                    await sleep(seconds)
                case IfAbandoned(request):
                    if_abandoned.append(request)
                case Afterwards(request):
                    afterwards.append(request)
            step = exchange.send(answer)
    except StopIteration as returned:
        finished = True
        result: T = returned.value
        return result
    except (AttemptTimedOut, asyncio.CancelledError):
        raise
    except BaseException:
        finished = True  # the provider itself ended it: there is nothing left to cancel
        raise
    finally:
        exchange.close()
        left_over = afterwards if finished else [*if_abandoned, *afterwards]
        if left_over:
            await asyncio.shield(_clean_up(left_over, send, clock))


async def _clean_up(requests: list[HttpRequest], send: Send, clock: Callable[[], float]) -> None:
    """Send what must still be sent. A failure here costs the provider storage, never the caller an answer."""
    from providers.errors import ProviderError  # noqa: PLC0415
    from providers.types import Moment  # noqa: PLC0415

    for request in requests:
        try:
            await send(request, Moment(clock() + CLEANUP_S))
        except ProviderError:
            continue
