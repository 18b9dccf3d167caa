"""What an adapter may ask of the network, and the one loop that grants it.

An adapter is pure: it yields requests and waits, and is sent replies. It never sees a socket, a clock or a
credential, so a test drives it by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace

from providers.errors import AttemptTimedOut, ProviderError, ProviderUnavailable, ReplyCutOff
from providers.types import Moment

if TYPE_CHECKING:
    from providers.audio.content import Content
    from providers.errands import Errands

T = TypeVar("T")

TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses that say nothing of what was asked about, only that it could not be done now."""
CLEANUP_S = 5.0  # how long each request may take that is sent when the exchange is over


class Base64(msgspec.Struct, frozen=True):
    """The content as base64 text, encoded slice by slice as it is sent."""

    content: Content

    @property
    def size_bytes(self) -> int:
        return (self.content.size_bytes + 2) // 3 * 4


Piece: TypeAlias = "bytes | Content | Base64"
Body: TypeAlias = tuple[Piece, ...]
"""A request body in pieces of known size: it is never joined in memory, and can be sent again."""


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP call, without a credential: `authorize` adds that last."""

    method: str
    url: str
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)  # lower-case names
    body: Body = ()
    anonymous: bool = False  # True: no credential is added, wherever it goes
    once: bool = False  # True: it starts a job. Where it was sent and not answered, the error is FateUnknown
    free: bool = False  # True: nobody bills it. Where it is cut off, the error is Interrupted
    bills: bool = False  # True: once all of it is there, the service does the work and bills it
    within_s: float | None = None  # a limit of its own inside the deadline, where asking again is cheap
    told: TimeLeft | None = None  # headers that pass the deadline on
    on_sent: Callable[[], None] | None = None  # called when all of the body was handed to the system


TimeLeft: TypeAlias = Callable[[float], Mapping[str, str]]
"""Returns headers, given the seconds that are left when the request is sent."""


class HttpReply(msgspec.Struct, frozen=True, kw_only=True):
    """A reply, read to its end."""

    status: int
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)  # lower-case names
    body: bytes = b""

    @property
    def said(self) -> str:
        """The beginning of the body as text: an error says it early, or it is no sentence."""
        return self.body[:8192].decode(errors="replace")


class Wait(msgspec.Struct, frozen=True):
    """Ask to be resumed after so many seconds."""

    seconds: float


class IfAbandoned(msgspec.Struct, frozen=True):
    """Ask that this be sent if the exchange ends without a result and before `Over`: a job there is cancelled so."""

    request: HttpRequest


class Over(msgspec.Struct, frozen=True):
    """Say that the job there has come to its end, good or bad: nothing is left of it to cancel."""


class Afterwards(msgspec.Struct, frozen=True):
    """Ask that this be sent when the exchange is over, however it ends: uploaded audio is deleted so."""

    request: HttpRequest
    not_yet: NotYet = TRANSIENT


NotYet: TypeAlias = "frozenset[int] | Callable[[HttpReply], bool]"
"""Statuses that say that it is not done yet, or what tells such a reply: it is asked again later. None: once is all."""


Step: TypeAlias = HttpRequest | Wait | IfAbandoned | Over | Afterwards
Exchange: TypeAlias = Generator[Step, HttpReply | None, T]
"""A call in several steps. HttpRequest is answered with its reply, or the ProviderError of having none is raised where
it was yielded; everything else is answered with None."""


class Progress(msgspec.Struct, eq=False):
    """How far one call has come, for whoever may want to call it off."""

    is_sunk: bool = False  # the service has all it needs and cannot be told to stop: it bills, whoever still waits
    on_revocable: Callable[[], None] | None = None  # called when it can be told so again

    def sunk(self) -> None:
        self.is_sunk = True

    def revocable(self) -> None:
        self.is_sunk = False
        if self.on_revocable is not None:
            self.on_revocable()


class Send(Protocol):
    """Sends one request under a deadline. Raises ProviderError only."""

    async def __call__(self, request: HttpRequest, deadline: Moment, /) -> HttpReply: ...


async def run(  # noqa: PLR0913 - all that an exchange may need
    exchange: Exchange[T],
    send: Send,
    *,
    provider: str,
    deadline: Moment,
    clock: Callable[[], float],
    errands: Errands,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    progress: Progress | None = None,
) -> T:
    """Grant the exchange what it asks for until it returns.

    Raises ProviderError. AttemptTimedOut where a wait would end after the deadline. What is to be sent at the end is
    left to errands: no caller waits for it, and none who leaves takes it along. progress: is kept up to date.
    """
    granter = _Granter(provider, send, deadline, clock, sleep, progress or Progress())
    try:
        step = next(exchange)
        while True:
            try:
                answer = await granter.grant(step)
            except ProviderError as error:
                step = exchange.throw(error)
            else:
                step = exchange.send(answer)
    except StopIteration as returned:
        granter.if_abandoned.clear()
        result: T = returned.value
        return result
    finally:
        exchange.close()
        if left_over := [*map(Afterwards, granter.if_abandoned), *granter.afterwards]:
            errands.add(_clean_up(left_over, send, clock, errands))


class _Granter(msgspec.Struct, eq=False):
    """Answers one exchange's steps, and keeps what it asked to be sent at the end."""

    provider: str
    send: Send
    deadline: Moment
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    progress: Progress
    if_abandoned: list[HttpRequest] = msgspec.field(default_factory=list)
    afterwards: list[Afterwards] = msgspec.field(default_factory=list)

    async def grant(self, step: Step) -> HttpReply | None:
        match step:
            case HttpRequest():
                return await self._reply(step)
            case Wait(seconds):
                if self.clock() + seconds > self.deadline:
                    raise AttemptTimedOut(self.provider, "still working at the deadline")
                await self.sleep(seconds)
            case IfAbandoned(request):
                self.if_abandoned.append(request)
                self.progress.revocable()
            case Over():
                self.if_abandoned.clear()
                self.progress.sunk()
            case Afterwards():
                self.afterwards.append(step)
        return None

    async def _reply(self, request: HttpRequest) -> HttpReply:
        now = self.clock()
        if request.bills:
            request = replace(request, on_sent=self.progress.sunk)
        if request.told:
            request = replace(request, headers={**request.headers, **request.told(self.deadline - now)})
        if request.within_s is None or now + request.within_s >= self.deadline:
            return await self.send(request, self.deadline)
        try:
            return await self.send(request, Moment(now + request.within_s))
        except AttemptTimedOut as error:
            raise ProviderUnavailable(self.provider, f"no answer in {request.within_s:g} s") from error


async def _clean_up(left: list[Afterwards], send: Send, clock: Callable[[], float], errands: Errands) -> None:
    """Send what must still be sent. A failure here costs the provider storage, never the caller an answer.

    What comes too early, or was not answered, is sent again, for as long as a job may take that nobody waits for any
    more; once more at the last where all is being closed.
    """
    for pause_s in _NOT_YET_S:
        left = [each for each in left if await _is_too_early(each, send, clock)]
        if not left or errands.is_closing:
            return
        await errands.pause(pause_s)


_NOT_YET_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, *(15.0,) * 59)  # a quarter of an hour in all


async def _is_too_early(each: Afterwards, send: Send, clock: Callable[[], float]) -> bool:
    try:
        reply = await send(each.request, Moment(clock() + CLEANUP_S))
    except (ProviderUnavailable, AttemptTimedOut, ReplyCutOff):
        return bool(each.not_yet)  # nobody said that it is gone
    except ProviderError:
        return False
    return each.not_yet(reply) if callable(each.not_yet) else reply.status in each.not_yet
