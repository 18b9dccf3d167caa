"""deploy/ray/app.py without a cluster: who is let in, and when a replica asks to be replaced."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

import pytest

from config.faults import BadConfiguration
from gateway.hearing import Told

TOLD: dict[str, Any] = {"models": ["tiny.en"]}
FAILED = Told(status=422, outcome="unavailable", failed=True)
IMPATIENT = Told(status=422, outcome="unavailable")


@pytest.fixture
def app() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray warns of its own code
        return import_module("deploy.ray.app")


@pytest.mark.parametrize(
    "told", [[IMPATIENT] * 5, [FAILED, FAILED, Told(), FAILED, FAILED], [FAILED, FAILED, IMPATIENT]]
)
def test_a_replica_stays_whose_models_did_not_fail(app: Any, told: list[Told]) -> None:
    failures = app.Failures()
    for each in told:
        failures.note(each)
    failures.check()


def test_a_replica_is_given_up_whose_models_fail_one_after_another(app: Any) -> None:
    failures = app.Failures()
    for each in (FAILED, FAILED, IMPATIENT, FAILED):
        failures.note(each)
    with pytest.raises(RuntimeError, match="3 jobs failed"):
        failures.check()


def test_no_key_is_said_at_the_start(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    app.Engine(TOLD)
    assert "Whoever reaches the port may use these models" in caplog.text


def test_a_key_is_taken_without_a_word(
    app: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ASR_GATEWAY_ENGINE_KEY", "a-key")
    assert app.Engine(TOLD)._key.get_secret_value() == "a-key"
    assert caplog.text == ""


async def test_a_model_that_is_missing_does_not_take_anothers_place_again_and_again(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray lets go of one before it tries another, and gateways ask every second for one that they cannot have."""
    tried: list[str] = []
    now_s = 0.0

    def multiplexed(**_: int) -> Any:
        """Ray's, which is for replicas alone."""

        def kept(load: Any) -> Any:
            async def loaded(model_id: str) -> Any:
                tried.append(model_id)
                return await load(model_id)

            return loaded

        return kept

    monkeypatch.setattr(app.serve, "multiplexed", multiplexed)
    engine = app.Engine({"models": ["/nowhere"], "account": {"engine": "faster-whisper"}})
    engine._missing._clock = lambda: now_s
    for _ in range(3):
        assert b"/nowhere holds no model.bin" in (await engine._hearing.model("/nowhere")).body
    assert len(tried) == 1
    for now_s, times in ((11.0, 2), (30.0, 2), (32.0, 3)):  # noqa: B007 - the clock reads it
        await engine._hearing.model("/nowhere")
        assert len(tried) == times


@pytest.mark.parametrize(("key", "error"), [("", ValueError), ("  ", BadConfiguration)])
def test_an_empty_key_is_refused(app: Any, monkeypatch: pytest.MonkeyPatch, key: str, error: type[Exception]) -> None:
    monkeypatch.setenv("ASR_GATEWAY_ENGINE_KEY", key)
    with pytest.raises(error, match=r"(?i)key"):
        app.Engine(TOLD)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"account": {"devise": "cuda"}}, "devise"),
        ({"server": {"max_upload": "much"}}, "max_upload"),
        ({"model": []}, "model"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_replica_is_replaced(
    app: Any, changed: dict[str, Any], named: str
) -> None:
    """Ray builds an application first, and leaves the one that it has alone where that fails."""
    with pytest.raises(ValueError, match=named):
        app.build(TOLD | changed)
