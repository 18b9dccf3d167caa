"""What an answer cost: as its provider says, else as its price comes to."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gateway.dispatch.answers import Answer, Paid
from gateway.dispatch.charge import Charge, charge_of, charges_of, total
from providers.types import Account, Deployment, Price, Transcript

GROQ = Price(usd_per_minute=0.06, minimum_s=10.0)
HEARD = Transcript(text="hello", duration_s=30.0)


def answer(price: Price | None, transcript: Transcript = HEARD) -> Answer:
    account = Account(name="a", adapter="openai", base_urls={})
    deployment = Deployment(account=account, native_model="x", price=price)
    return Answer(transcript=transcript, deployment=deployment, ignored=(), attempts=())


@pytest.mark.parametrize(
    ("price", "duration_s", "charge"),
    [
        (Price(usd_per_minute=0.06), 12.5, Charge(billed_s=12.5, cost_usd=0.0125)),
        (GROQ, 3.0, Charge(billed_s=10.0, cost_usd=0.01)),
        (Price(usd_per_minute=0.06, step_s=15.0), 31.0, Charge(billed_s=45.0, cost_usd=0.045)),
        (Price(usd_per_minute=0.06, usd_per_request=0.5), 30.0, Charge(billed_s=30.0, cost_usd=0.53)),
        (Price(usd_per_minute=0.0), 30.0, Charge(billed_s=30.0, cost_usd=0.0)),
        (None, 30.0, Charge(billed_s=30.0, cost_usd=None)),
    ],
)
def test_by_its_price(price: Price | None, duration_s: float, charge: Charge) -> None:
    told = charge_of(answer(price), duration_s)

    assert told.billed_s == charge.billed_s
    assert told.cost_usd == pytest.approx(charge.cost_usd)


def test_what_the_provider_billed_is_what_it_cost() -> None:
    """Free too, where it says so."""
    for cost_usd in (0.0042, 0.0):
        said = Transcript(text="hello", cost_usd=cost_usd)
        assert charge_of(answer(GROQ, said), 3.0) == Charge(billed_s=10.0, cost_usd=cost_usd)


@pytest.mark.parametrize("cost_usd", [-0.01, float("nan"), float("inf")])
def test_what_cannot_be_a_cost_is_none(cost_usd: float) -> None:
    said = Transcript(text="hello", cost_usd=cost_usd)
    assert charge_of(answer(GROQ, said), 10.0).cost_usd == pytest.approx(0.01)


def test_what_was_paid_besides_is_charged_at_its_own_price() -> None:
    """What was called off is charged like an answer. Whose price is not known adds nothing that is known."""
    besides = tuple(Paid(deployment=answer(price).deployment, transcript=None) for price in (GROQ, None))
    charges = charges_of(replace(answer(Price(usd_per_minute=0.6)), besides=besides), 5.0)

    assert [charge.billed_s for _, charge in charges] == [5.0, 10.0, 5.0]
    assert [charge.cost_usd for _, charge in charges] == [pytest.approx(0.05), pytest.approx(0.01), None]
    whole = total(charge for _, charge in charges)
    assert whole.billed_s == 20.0
    assert whole.cost_usd == pytest.approx(0.06)
    assert total(charge for _, charge in charges[2:]) == Charge(billed_s=5.0, cost_usd=None)


def test_the_length_is_the_files_and_only_where_nothing_tells_the_providers() -> None:
    assert charge_of(answer(None), 12.0).billed_s == 12.0
    assert charge_of(answer(None), None).billed_s == 30.0
    assert charge_of(answer(GROQ, Transcript(text="hello")), None) == Charge(billed_s=None, cost_usd=None)
