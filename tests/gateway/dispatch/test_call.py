"""Who is told which trace a call belongs to, and what is noted of it."""

from __future__ import annotations

import asyncio

import pytest

from gateway.dispatch.call import CALL, Call, CallWatch, current, is_own
from providers.registry import PROVIDERS
from providers.types import Account

HERE = Account(name="here", adapter="openai", base_urls={"api": "http://gpu-1:8000/v1"})
THERE = Account(name="there", adapter="openai", base_urls=PROVIDERS["openai"].base_urls)
TRACED = Call(traceparent="00-1-2-01", tracestate="a=1")


def test_an_account_is_ones_own_by_its_addresses() -> None:
    assert is_own(HERE)
    assert not is_own(THERE)


@pytest.mark.parametrize("adapter", sorted(PROVIDERS))
def test_no_cloud_is_ones_own(adapter: str) -> None:
    usual = PROVIDERS[adapter].base_urls
    assert is_own(Account(name="a", adapter=adapter, base_urls=usual)) is not bool(usual)
    if usual:
        some = {**usual, "api": "http://gpu-1"} if len(usual) > 1 else usual
        assert not is_own(Account(name="a", adapter=adapter, base_urls=some)), "another part of it is the provider's"


def test_a_call_is_told_where_it_belongs_to_those_who_are_to_know() -> None:
    watch = CallWatch(is_own)
    with current(TRACED):
        assert watch.headers(HERE) == {"traceparent": "00-1-2-01", "tracestate": "a=1"}
        assert watch.headers(THERE) == {}
    with current(Call(traceparent="00-1-2-01")):
        assert watch.headers(HERE) == {"traceparent": "00-1-2-01"}
    with current(Call()):
        assert watch.headers(HERE) == {}
    assert watch.headers(HERE) == {}


async def test_two_calls_at_once_are_kept_apart() -> None:
    watch = CallWatch()

    async def call(status: int) -> Call:
        mine = Call()
        with current(mine):
            await asyncio.sleep(0)
            watch.replied(status, {})
            return mine

    one, other = await asyncio.gather(call(200), call(503))
    assert (one.http_status, other.http_status) == (200, 503)
    watch.replied(500, {})
    assert CALL.get() is None
