"""Jobs with one address each: started once, followed, and deleted however it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest

from providers.errors import FateUnknown, JobUnsupported, MalformedReply
from providers.exchange import TRANSIENT, Afterwards, HttpRequest, IfAbandoned, Over, Wait
from providers.jobs import Job, Jobs
from providers.refusals import by_reply
from tests.driving import answer, asked, steps_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.errors import ProviderError
    from providers.exchange import HttpReply

WITHIN = "https://api.example/v1/jobs"
CREATE = HttpRequest(method="POST", url=WITHIN)
DELETION = HttpRequest(method="DELETE", url=f"{WITHIN}/j-1")


class _Job(Job):
    status: Literal["queued", "processing", "completed", "error"]


def classify(reply: HttpReply) -> ProviderError:
    return by_reply("p", reply)


JOBS = Jobs(provider="p", job=_Job, classify_error=classify, kept=frozenset({409}))
STOPPABLE = Jobs(provider="p", job=_Job, classify_error=classify, kept=frozenset({423}), stopped_by="?force=true")


def test_a_job_is_started_followed_and_deleted() -> None:
    replies = [answer(id="j-1"), answer(status="queued"), answer(status="processing"), answer(status="completed")]
    steps, (address, job) = steps_of(JOBS.run(CREATE, WITHIN), *replies)

    assert asked(steps) == [("POST", WITHIN), *[("GET", f"{WITHIN}/j-1")] * 3]
    assert steps[1] == Afterwards(DELETION, frozenset({409}) | TRANSIENT)  # before anything can be lost sight of
    assert [each.seconds for each in steps if isinstance(each, Wait)] == [0.5, 0.5, 0.75]
    assert (address, job.status) == (f"{WITHIN}/j-1", "completed")


def test_a_job_that_can_be_stopped_is_until_it_is_over() -> None:
    steps, _ = steps_of(STOPPABLE.run(CREATE, WITHIN), answer(201, id="j-1"), answer(status="error"))

    assert steps[1] == IfAbandoned(HttpRequest(method="DELETE", url=f"{WITHIN}/j-1?force=true"))
    assert steps[-2:] == [Afterwards(DELETION, frozenset({423}) | TRANSIENT), Over()]


def test_it_is_started_once_and_that_is_billed() -> None:
    first = next(JOBS.run(CREATE, WITHIN))

    assert isinstance(first, HttpRequest)
    assert (first.once, first.bills) == (True, True)


@pytest.mark.parametrize("name", ["", "../files", "a/b", "a?b", ".", "x" * 201, 7, None])
def test_a_name_that_leads_elsewhere_is_malformed(name: Any) -> None:
    """It becomes part of an address that the key is sent to."""
    with pytest.raises(MalformedReply):
        steps_of(JOBS.run(CREATE, WITHIN), answer(id=name))


@pytest.mark.parametrize("state", [{}, {"status": "lost"}, {"status": None}])
def test_a_state_that_is_none_is_malformed(state: Mapping[str, Any]) -> None:
    with pytest.raises(MalformedReply):
        steps_of(JOBS.run(CREATE, WITHIN), answer(id="j-1"), answer(**state))


def test_a_job_that_is_gone_is_another_providers() -> None:
    with pytest.raises(JobUnsupported):
        steps_of(JOBS.run(CREATE, WITHIN), answer(id="j-1"), answer(404))


def test_a_job_that_cannot_be_read_is_lost_sight_of() -> None:
    with pytest.raises(FateUnknown, match="lost sight"):
        steps_of(JOBS.run(CREATE, WITHIN), answer(id="j-1"), *[answer(503)] * 5)


def test_what_it_made_is_read_by_its_headers() -> None:
    steps, reply = steps_of(JOBS.read(f"{WITHIN}/j-1/transcript", accept="text/plain"), answer(503), answer(text="hi"))

    first = steps[0]
    assert isinstance(first, HttpRequest)
    assert (first.headers, len(asked(steps))) == ({"accept": "text/plain"}, 2)
    assert reply == answer(text="hi")
