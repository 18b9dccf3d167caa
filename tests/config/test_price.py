"""What an operator may say of a price."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from config.catalog import load_catalog
from config.price import Price
from config.settings import AccountSettings, Route, Settings, Target
from gateway.fleet import build_routes
from providers.types import Price as Paid


@pytest.mark.parametrize(
    ("written", "paid"),
    [
        ({"usd_per_minute": 0}, Paid(usd_per_minute=0.0)),
        ({"usd_per_second": 0.0001}, Paid(usd_per_minute=0.006)),
        ({"usd_per_request": 0.02}, Paid(usd_per_minute=0.0, usd_per_request=0.02)),
        (
            {"usd_per_minute": 0.00185, "usd_per_request": 0.001, "minimum": "10s", "step": "1s"},
            Paid(usd_per_minute=0.00185, usd_per_request=0.001, minimum_s=10.0, step_s=1.0),
        ),
    ],
)
def test_every_part_of_it_reaches_the_deployment(written: dict[str, object], paid: Paid) -> None:
    """Although the catalog knows another."""
    target = Target.model_validate({"target": "a/whisper-1", "price": written})
    account = AccountSettings.model_validate({"adapter": "openai", "api_key": "k"})
    settings = Settings(providers={"a": account}, models={"whisper-1": Route(targets=(target,))})

    assert build_routes(settings, load_catalog()).by_model["whisper-1"].deployments[0].price == paid


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ({}, "usd_per_minute, usd_per_second or usd_per_request"),
        ({"minimum": "10s"}, "usd_per_minute, usd_per_second or usd_per_request"),
        ({"usd_per_minute": 1, "usd_per_second": 1}, "exclude each other"),
        ({"usd_per_minute": -1}, "usd_per_minute"),
        ({"usd_per_minute": float("nan")}, "usd_per_minute"),
        ({"usd_per_second": 1001}, "usd_per_second"),
        ({"usd_per_request": -0.1}, "usd_per_request"),
        ({"usd_per_minute": 1, "minimum": "-1s"}, "minimum"),
        ({"usd_per_minute": 1, "step": "soon"}, "step"),
        ({"usd_per_hour": 1}, "usd_per_hour"),
    ],
)
def test_what_is_no_price(written: dict[str, object], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        Price.model_validate(written)


def test_a_target_has_one_price() -> None:
    with pytest.raises(ValidationError, match="usd_per_minute and price exclude each other"):
        Target.model_validate({"target": "a/x", "usd_per_minute": 1, "price": {"usd_per_minute": 1}})
