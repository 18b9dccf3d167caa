"""What is known of one call to a deployment while it goes on: below in the network, and above where it is counted."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from providers.types import Account


class Call(msgspec.Struct):
    """One call. It may take several requests; all of them belong to the same span."""

    traceparent: str = ""  # where calls are traced
    tracestate: str = ""
    began_ns: int = 0  # on the tracer's clock
    http_status: int | None = None  # of the latest reply
    headers: Mapping[str, str] | None = None  # of the same


CALL: Final[ContextVar[Call | None]] = ContextVar("call", default=None)


class Current:
    """A call while it is the current one."""

    __slots__ = ("_call", "_token")

    def __init__(self, call: Call) -> None:
        self._call = call

    def __enter__(self) -> None:
        self._token = CALL.set(self._call)

    def __exit__(self, *_: object) -> None:
        CALL.reset(self._token)


def current(call: Call) -> Current:
    """Let it be the current one."""
    return Current(call)


@dataclass(frozen=True, slots=True)
class CallWatch:
    """Tells providers which trace a call belongs to, and notes what they reply. Never baggage: it is a caller's own."""

    tells: Callable[[Account], bool] = lambda _: False  # which accounts are told

    def headers(self, account: Account) -> Mapping[str, str]:
        call = CALL.get()
        if call is None or not call.traceparent or not self.tells(account):
            return {}
        state = {"tracestate": call.tracestate} if call.tracestate else {}
        return {"traceparent": call.traceparent, **state}

    def replied(self, status: int, headers: Mapping[str, str]) -> None:
        call = CALL.get()
        if call is not None:
            call.http_status, call.headers = status, headers


def is_own(account: Account) -> bool:
    """Tell whether an account is at an address of the operator's: none of it is its provider's usual one."""
    provider = PROVIDERS.get(account.adapter)
    usual = set(provider.base_urls.values()) if provider else set()
    return usual.isdisjoint(account.base_urls.values())
