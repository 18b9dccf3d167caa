"""What is known of deployments while the configuration changes under the calls in progress."""

from __future__ import annotations

import gc

from msgspec.structs import replace

from config.settings import OnUnsupported
from gateway.dispatch.health import HealthBook
from gateway.dispatch.routes import WILDCARD, Route, Routes
from gateway.dispatch.verdict import Verdict
from gateway.policies.breaker import Outcome, Why
from providers.types import Deployment
from tests.gateway.dispatch.conftest import deployment, reliability

PARKED = Verdict(park=(Why.CREDENTIALS, 300.0))
FAILED = Verdict(outcome=Outcome.FAILED)
CRASHED = Verdict(outcome=Outcome.FAILED, is_crash=True)
LIMITED = replace(deployment("a/x"), max_concurrent=2)


def book(*deployments: Deployment, model: str = "m") -> HealthBook:
    made = HealthBook(lambda: 1000.0)
    adopt(made, *deployments, model=model)
    return made


def adopt(known: HealthBook, *deployments: Deployment, model: str = "m", **sections: object) -> None:
    route = Route(deployments=deployments, on_unsupported=OnUnsupported.REJECT)
    known.adopt(Routes(by_model={model: route}), reliability(**sections))


def with_key(of: Deployment, key: str) -> Deployment:
    return replace(of, account=replace(of.account, base_urls={"api": f"https://{key}.example"}))


def states(known: HealthBook) -> dict[str, str]:
    return {each.deployment: each.state for each in known.conditions()}


def test_another_weight_limit_or_queue_gives_nobody_a_second_set_of_places() -> None:
    """Nor does it forget a breaker that is open."""
    known = book(LIMITED)
    calls = [known[LIMITED].try_begin(1000.0) for _ in range(2)]
    adopt(known, replace(LIMITED, weight=3.0), queue={"max_waiting": 5})
    assert known[LIMITED].try_begin(1000.0) is None
    adopt(known, replace(LIMITED, max_concurrent=3))
    calls.append(known[LIMITED].try_begin(1000.0))
    for call in calls:
        assert call is not None
        call.end(1000.0, PARKED)
    assert known[LIMITED].slots.taken == 0
    adopt(known, replace(LIMITED, max_concurrent=1))
    assert states(known) == {"a/x": "parked"}


def test_who_began_before_may_ask_what_is_configured_no_more() -> None:
    known = book(LIMITED)
    call = known[LIMITED].try_begin(1000.0)
    adopt(known, deployment("b/y"))
    assert call is not None
    assert known[LIMITED].slots.taken == 1, "the places are those it had"
    assert list(states(known)) == ["b/y"]
    call.end(1000.0)
    assert known[LIMITED].slots.taken == 0


def test_a_key_that_was_replaced_says_nothing_of_the_new_one() -> None:
    new = with_key(LIMITED, "new")
    known = book(LIMITED)
    adopt(known, new)
    call = known[LIMITED].try_begin(1000.0)
    assert call is not None
    call.end(1000.0, PARKED)
    assert states(known) == {"a/x": "closed"}
    assert known[new].admits(1000.0)


def test_an_accounts_other_models_too() -> None:
    known = book(deployment("a/{model}"), model=WILDCARD)
    named = deployment("a/anything")
    assert known[named] is known[deployment("a/else")]
    adopt(known, with_key(deployment("a/{model}"), "new"), model=WILDCARD)
    call = known[named].try_begin(1000.0)
    assert call is not None
    call.end(1000.0, PARKED)
    assert states(known) == {"a/other": "closed"}


def test_what_began_before_it_opened_does_not_open_it_again() -> None:
    """Calls that hung while it was down time out one by one after it has come back; a refusal is news all the same."""
    one = deployment("a/x")
    known = book(one)[one]
    hung = [known.begin(1000.0) for _ in range(11)]
    for call in hung[:5]:
        call.end(1060.0, FAILED)
    assert not known.admits(1060.0)
    known.begin(1065.0).end(1065.0, Verdict(outcome=Outcome.OK))  # the probe
    for call in hung[5:10]:
        call.end(1066.0, FAILED)
    assert known.admits(1066.0)
    hung[10].end(1066.0, PARKED)
    assert not known.admits(1066.0)


def test_a_crash_counts_once_however_many_calls_it_took_along() -> None:
    """Those that are sent again and end with another crash count anew."""
    one = deployment("a/x")
    known = book(one)[one]
    for crash in range(5):
        assert known.admits(1000.0 + crash)
        for call in [known.begin(1000.0 + crash) for _ in range(8)]:
            call.end(1000.5 + crash, CRASHED)
    assert not known.admits(1006.0)


def test_what_nobody_asks_any_more_is_forgotten() -> None:
    known = book(LIMITED)
    known[LIMITED].pace = 0.5
    adopt(known, deployment("b/y"))
    gc.collect()
    assert known[LIMITED].pace is None


def test_one_deployment_of_two_models_keeps_its_queue() -> None:
    """The last to name it says how many places there are."""
    known = book(LIMITED)
    both = {
        name: Route(deployments=(each,), on_unsupported=OnUnsupported.REJECT)
        for name, each in (("m", replace(LIMITED, max_concurrent=None)), ("n", LIMITED))
    }
    calls = [known[LIMITED].try_begin(1000.0) for _ in range(2)]
    known.adopt(Routes(by_model=both), reliability())
    assert all(calls)
    assert known[LIMITED].try_begin(1000.0) is None


def test_another_quota_counts_what_was_taken_of_the_old_one() -> None:
    """A reload gives no provider's quota anew."""
    known = book(replace(LIMITED, requests_per_minute=3))
    for _ in range(2):
        known[LIMITED].begin(1000.0).end(1000.0)
    adopt(known, replace(LIMITED, requests_per_minute=2))
    assert not known[LIMITED].admits(1000.0)
    adopt(known, LIMITED)
    assert known[LIMITED].admits(1000.0)
