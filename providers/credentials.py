"""Credentials that end: fetched once for all who wait, and renewed beside the requests before they end.

An adapter stays as it is: its `authorize` sees an account whose key is the token of the moment. Tokens are in no log,
no error and no `repr`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from msgspec.structs import replace

from providers.errors import AttemptTimedOut, ProviderError, ProviderUnavailable
from providers.exchange import HttpReply, HttpRequest
from providers.types import Account

if TYPE_CHECKING:
    from pydantic import SecretStr

    from providers.errands import Errands
    from providers.types import Moment

FETCH_S = 30.0  # however many requests it takes
_EARLY_S = 300.0  # before its end a token is renewed, or in the last fifth of a short life
_MOST_KEPT = 1000  # callers' own keys may be many
_AGAIN_S = 10.0  # after a renewal failed, while the token is still good


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What lets an account in for a while."""

    secret: SecretStr
    lasts_s: float | None  # from now; None: until it is refused


Ask: TypeAlias = Callable[[HttpRequest], Awaitable[HttpReply]]
"""Sends a request to whoever gives tokens, with nothing added to it. Raises ProviderError."""
FetchToken: TypeAlias = Callable[[Account, Ask], Awaitable[Token]]
"""Gets a new token for an account. Raises ProviderError: CredentialsRejected where it is the operator's to mend."""


@dataclass(slots=True, eq=False)
class _Kept:
    """One account's token, and the renewal that is under way."""

    token: Token | None = None
    ends_at: float | None = None  # on the tokens' clock
    renew_at: float | None = None
    renewal: asyncio.Future[None] | None = None

    def is_good(self, now: float) -> bool:
        return self.token is not None and (self.ends_at is None or now < self.ends_at)

    def is_due(self, now: float) -> bool:
        return self.renew_at is not None and now >= self.renew_at

    def take(self, token: Token, now: float) -> None:
        self.token = token
        self.ends_at = self.renew_at = None
        if token.lasts_s is not None:
            self.ends_at = now + token.lasts_s
            self.renew_at = self.ends_at - min(_EARLY_S, token.lasts_s / 5)


@dataclass(slots=True, eq=False)
class Tokens:
    """The tokens of one provider's accounts."""

    provider: str
    fetch: FetchToken
    ask: Ask
    errands: Errands  # a renewal that nobody waits for any more ends there
    clock: Callable[[], float]
    _kept: dict[tuple[object, ...], _Kept] = field(default_factory=dict)

    async def let_in(self, account: Account, deadline: Moment) -> Account:
        """Return the account with its token as key. Waits only where there is none that is good.

        Raises what fetching it raised, for all who wait alike; AttemptTimedOut where it comes too late.
        """
        kept = self._kept_of(account)
        now = self.clock()
        if not kept.is_good(now):
            await self._wait(self._renewal(account, kept), deadline)
        elif kept.is_due(now):
            self._renewal(account, kept)
        if kept.token is None:  # refused meanwhile, to somebody else
            raise ProviderUnavailable(self.provider, "the token was refused")
        return replace(account, api_key=kept.token.secret)

    def refused(self, account: Account, let_in: Account) -> None:
        """Forget the token that this account was let in with: the service did not believe it."""
        kept = self._kept.get(_name(account))
        if kept and kept.token and kept.token.secret == let_in.api_key:
            kept.token = None

    def _kept_of(self, account: Account) -> _Kept:
        """Return what there is of the account, which is now the last to be given up where there are too many."""
        name = _name(account)
        kept = self._kept.pop(name) if name in self._kept else _Kept()
        self._kept[name] = kept
        if len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        return kept

    async def _wait(self, renewal: asyncio.Future[None], deadline: Moment) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.shield(renewal)
        except TimeoutError as error:
            raise AttemptTimedOut(self.provider, "no token in time") from error

    def _renewal(self, account: Account, kept: _Kept) -> asyncio.Future[None]:
        """Return the renewal that is under way, or begin one."""
        if kept.renewal is None or kept.renewal.done():
            kept.renewal = asyncio.get_running_loop().create_future()
            self.errands.add(self._renew(account, kept, kept.renewal))
        return kept.renewal

    async def _renew(self, account: Account, kept: _Kept, told: asyncio.Future[None]) -> None:
        failed: ProviderError = ProviderUnavailable(self.provider, "no token came")
        asked_at = self.clock()
        try:
            async with asyncio.timeout(FETCH_S):
                kept.take(await self.fetch(account, self.ask), asked_at)
            told.set_result(None)
        except (TimeoutError, AttemptTimedOut):  # the service was not even asked
            failed = ProviderUnavailable(self.provider, "no token in time")
        except ProviderError as error:
            failed = error
        finally:
            if not told.done():
                kept.renew_at = self.clock() + _AGAIN_S
                told.set_exception(failed)
                told.exception()  # seen: perhaps nobody waits


def _name(account: Account) -> tuple[object, ...]:
    """Return what tells accounts apart: where they are, and what their tokens are made by. A key may be a caller's."""
    return account.name, account.api_key, *sorted(account.base_urls.items()), *sorted(account.options.items())
