"""Jobs that are asked after: what is forgiven, what is not, and how long is waited in between."""

from __future__ import annotations

from itertools import islice

import pytest
from pydantic import BaseModel

from providers.errors import MalformedReply, ProviderUnavailable
from providers.exchange import HttpReply, HttpRequest, Wait
from providers.polling import Url, ask, parse, pauses

REQUEST = HttpRequest(method="GET", url="https://api.example/jobs/1")
FINE = HttpReply(status=200, body=b"{}")
BROKEN = HttpReply(status=503)


class _Started(BaseModel):
    url: Url


def unavailable(reply: HttpReply) -> ProviderUnavailable:
    return ProviderUnavailable("p", f"status {reply.status}")


def test_pauses_grow_to_two_seconds() -> None:
    assert list(islice(pauses(), 7)) == [0.5, 0.5, 0.75, 1.0, 1.5, 2.0, 2.0]


@pytest.mark.parametrize("failed", [0, 1, 2])
def test_two_failed_readings_are_forgiven(failed: int) -> None:
    asking = ask(REQUEST, lambda reply: reply.status >= 500, unavailable)
    steps = [next(asking)]
    for _ in range(failed):
        steps += [asking.send(BROKEN), asking.send(None)]
    with pytest.raises(StopIteration) as returned:
        asking.send(FINE)

    assert returned.value.value is FINE
    assert steps == [REQUEST, Wait(1.0), REQUEST, Wait(2.0), REQUEST][: 1 + 2 * failed]


def test_the_third_is_not() -> None:
    asking = ask(REQUEST, lambda reply: reply.status >= 500, unavailable)
    next(asking)
    for answer in (BROKEN, None, BROKEN, None):
        asking.send(answer)
    with pytest.raises(ProviderUnavailable, match="status 503"):
        asking.send(BROKEN)


def test_what_leads_on_is_read_or_malformed() -> None:
    assert parse("p", _Started, HttpReply(status=201, body=b'{"url": "https://a.example/1"}')).url.endswith("/1")
    for body in (b"", b"<html>", b'{"url": 1}', b'{"url": "file:///etc/passwd"}', b'{"url": "https://a b/"}'):
        with pytest.raises(MalformedReply, match="p: a 201 that is no started"):
            parse("p", _Started, HttpReply(status=201, body=body))
