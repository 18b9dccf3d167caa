"""What a caller may ask for in headers: less time, or only the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import faulty as upstreams
from tests.asking import KEYS, MODEL, serving, settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Emulate = Callable[..., Awaitable[str]]


@pytest.mark.parametrize("given", ["0", "-1", "soon", "nan", "inf", "25h", ""])
async def test_a_time_that_is_none_is_refused(emulate: Emulate, given: str) -> None:
    async with serving(settings({"up": await emulate("hf-inference")})) as served:
        for told in (
            await served.post(**{"X-Gateway-Timeout": given}),
            await served.post("/v1/audio/transcriptions", **{"X-Gateway-Timeout": given}),
        ):
            assert (told.status, told.type, told.param) == (422, "invalid-parameter", "X-Gateway-Timeout")


async def test_less_time_is_kept() -> None:
    async with upstreams.faulty(upstreams.hangs) as silent, serving(settings({"up": silent.url})) as served:
        told = await served.post(**{"X-Gateway-Timeout": "300ms"})
        assert (told.status, told.type) == (504, "deadline")
        await silent.left.wait()


async def test_a_dry_run_tells_the_plan_and_calls_nobody(emulate: Emulate) -> None:
    async with (
        upstreams.faulty(upstreams.answers(401, {"error": "no"})) as dead,
        serving(settings({"dead": dead.url, "up": await emulate("hf-inference")})) as served,
    ):
        await served.post()
        calls = dead.calls
        told = await served.post(**{"X-Gateway-Dry-Run": "true"})
        assert dead.calls == calls
        assert told.status == 200
        assert told.body["model"] == MODEL
        assert told.body["strategy"] == "failover"
        assert [(each["deployment"], each["state"], each["why"]) for each in told.body["candidates"]] == [
            ("dead/whisper", "parked", "credentials"),
            ("up/whisper", "closed", None),
        ]
        assert "X-Gateway-Provider" not in told.headers


@pytest.mark.parametrize("given", ["maybe", "2"])
async def test_a_dry_run_is_or_is_not(emulate: Emulate, given: str) -> None:
    async with serving(settings({"up": await emulate("hf-inference")})) as served:
        told = await served.post(**{"X-Gateway-Dry-Run": given})
        assert (told.status, told.param) == (422, "X-Gateway-Dry-Run")


async def test_prices_and_health_are_for_admins(emulate: Emulate) -> None:
    async with serving(settings({"up": await emulate("hf-inference")}, auth=KEYS)) as served:
        told = await served.post(Authorization="Bearer hf_gw_newsroom", **{"X-Gateway-Dry-Run": "true"})
        assert told.status == 403
