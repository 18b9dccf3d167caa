"""Jobs: submitted once, asked after; what is forgiven, what is not, and how long is waited in between."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from providers.errors import (
    CredentialsRejected,
    FateUnknown,
    JobUnsupported,
    MalformedReply,
    ProviderUnavailable,
    RateLimited,
    ReplyCutOff,
)
from providers.exchange import HttpReply, HttpRequest, Wait
from providers.polling import Url, ask, is_transient, parse, pauses, submit, until_over
from providers.refusals import by_reply

if TYPE_CHECKING:
    from providers.errors import ProviderError
    from providers.exchange import Exchange

REQUEST = HttpRequest(method="GET", url="https://api.example/jobs/1")
FINE = HttpReply(status=200, body=b"{}")
BROKEN = HttpReply(status=503)
CUT = ProviderUnavailable("p", "the connection was cut")
HALF = ReplyCutOff("p", "the reply broke off")


class _Started(BaseModel):
    url: Url


def classify(reply: HttpReply) -> ProviderError:
    return by_reply("p", reply)


def asking() -> Exchange[HttpReply]:
    return ask(REQUEST, lambda reply: reply.status in {429, 503}, classify)


def driven(exchange: Exchange[Any], *answers: HttpReply | ProviderError) -> tuple[list[float], Any]:
    """Answer each request in turn; return the waits before and between, and what comes of it."""
    waits: list[float] = []
    step = next(exchange)
    while isinstance(step, Wait):
        waits.append(step.seconds)
        step = exchange.send(None)
    for answer in answers:
        assert isinstance(step, HttpRequest)
        try:
            step = exchange.throw(answer) if isinstance(answer, Exception) else exchange.send(answer)
            while isinstance(step, Wait):
                waits.append(step.seconds)
                step = exchange.send(None)
        except StopIteration as returned:
            return waits, returned.value
    raise AssertionError("it asks for more")


def test_pauses_grow_to_two_seconds_and_after_a_minute_to_five() -> None:
    first = list(islice(pauses(), 35))

    assert first[:7] == [0.5, 0.5, 0.75, 1.0, 1.5, 2.0, 2.0]
    assert sum(each for each in first if each < 5.0) == pytest.approx(60, abs=1)
    assert (first == sorted(first), first[-1]) == (True, 5.0)


class _Seen(BaseModel):
    is_over: bool


def test_a_job_is_asked_after_until_it_is_over() -> None:
    states = iter([_Seen(is_over=False), _Seen(is_over=False), _Seen(is_over=True)])

    def read() -> Exchange[_Seen]:
        yield REQUEST
        return next(states)

    waits, last = driven(until_over(read, iter([0.5, 1.0, 2.0])), FINE, FINE, FINE)

    assert (waits, last) == ([0.5, 1.0, 2.0], _Seen(is_over=True))


@pytest.mark.parametrize(("status", "transient"), [(200, False), (404, False), (408, True), (429, True), (502, True)])
def test_a_busy_service_says_nothing_of_the_job(status: int, *, transient: bool) -> None:
    assert is_transient(HttpReply(status=status)) == transient


@pytest.mark.parametrize("failed", [(), (BROKEN,), (CUT, BROKEN, HALF, HttpReply(status=429))])
def test_failed_readings_are_forgiven_however_they_failed(failed: tuple[HttpReply | ProviderError, ...]) -> None:
    waits, reply = driven(asking(), *failed, FINE)

    assert reply is FINE
    assert waits == [0.5, 1.0, 2.0, 4.0][: len(failed)]


@pytest.mark.parametrize("last", [BROKEN, CUT, HALF])
def test_after_the_fifth_the_jobs_fate_is_unknown(last: HttpReply | ProviderError) -> None:
    """It was accepted and may still run: nobody may start it again there."""
    with pytest.raises(FateUnknown, match="p: lost sight of the job: ") as caught:
        driven(asking(), BROKEN, CUT, BROKEN, CUT, last)

    assert not caught.value.retryable


@pytest.mark.parametrize(("asked", "waited_s"), [("3", 3.0), ("0", 0.5), ("3600", 10.0)])
def test_a_rate_limit_is_waited_for_within_reason(asked: str, waited_s: float) -> None:
    """The job's result lies there; the deadline is above all this."""
    waits, _ = driven(asking(), HttpReply(status=429, headers={"retry-after": asked}), FINE)

    assert waits == [waited_s]


def test_a_reading_that_hangs_is_given_up_before_the_job_is() -> None:
    first = next(asking())

    assert isinstance(first, HttpRequest)
    assert first.within_s == 30.0


@pytest.mark.parametrize(
    ("reply", "error"), [(HttpReply(status=401), CredentialsRejected), (HttpReply(status=404), JobUnsupported)]
)
def test_what_is_said_of_the_job_is_not_asked_again(reply: HttpReply, error: type[ProviderError]) -> None:
    with pytest.raises(error):
        driven(asking(), reply)


def test_a_job_is_submitted_once() -> None:
    exchange = submit(REQUEST, classify)
    first = next(exchange)

    assert isinstance(first, HttpRequest)
    assert first.once
    with pytest.raises(StopIteration) as returned:
        exchange.send(FINE)
    assert returned.value.value is FINE


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_failed_submission_may_have_started_a_job(status: int) -> None:
    """Whoever answers so may stand between us and the service."""
    with pytest.raises(FateUnknown, match="may have started") as caught:
        driven(submit(REQUEST, classify), HttpReply(status=status, headers={"retry-after": "7"}))

    assert (caught.value.retryable, caught.value.failover, caught.value.retry_after_s) == (False, True, 7.0)


@pytest.mark.parametrize(("status", "error"), [(429, RateLimited), (401, CredentialsRejected), (422, JobUnsupported)])
def test_a_refused_submission_is_a_refusal(status: int, error: type[ProviderError]) -> None:
    with pytest.raises(error):
        driven(submit(REQUEST, classify), HttpReply(status=status))


def test_what_leads_on_is_read_or_malformed() -> None:
    assert parse("p", _Started, HttpReply(status=201, body=b'{"url": "https://a.example/1"}')).url.endswith("/1")
    for body in (b"", b"<html>", b'{"url": 1}', b'{"url": "file:///etc/passwd"}', b'{"url": "https://a b/"}'):
        with pytest.raises(MalformedReply, match="p: a 201 that is no started"):
            parse("p", _Started, HttpReply(status=201, body=body))
