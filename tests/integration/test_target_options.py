"""A provider's own options at a target: for every job, unless the caller says otherwise."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from config.catalog import load_catalog
from config.faults import BadConfiguration
from config.settings import AccountSettings, Route, Settings, Target
from gateway.fleet import build_routes
from tests.asking import MODEL, WAV
from tests.conftest import serve
from tests.serving import routed, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

HEARD = {
    "metadata": {"duration": 1.0},
    "results": {"channels": [{"alternatives": [{"transcript": "yes", "confidence": 1.0, "words": []}]}]},
}


@pytest.fixture
async def deepgram() -> AsyncIterator[tuple[str, list[Mapping[str, str]]]]:
    """Return the address of a service that answers as Deepgram does, and what it was asked."""
    asked: list[Mapping[str, str]] = []
    runners: list[web.AppRunner] = []

    async def listen(request: web.Request) -> web.Response:
        await request.read()
        asked.append(dict(request.query))
        return web.json_response(HEARD)

    app = web.Application()
    app.router.add_post("/v1/listen", listen)
    yield await serve(app, runners), asked
    for runner in runners:
        await runner.cleanup()


def with_options(url: str, **options: Any) -> Settings:
    account = AccountSettings(adapter="deepgram", base_url=url, api_key=SecretStr("planted"))
    settings = routed(MODEL, {"up": account}, "up/nova-3")
    target = Target(target="up/nova-3", substitute=True, options=options)
    return settings.model_copy(update={"models": {MODEL: Route(targets=(target,))}})


async def test_they_are_sent_unless_the_caller_says_otherwise(deepgram: tuple[str, list[Mapping[str, str]]]) -> None:
    url, asked = deepgram
    settings = with_options(url, numerals=True, smart_format=True)
    options = {"provider_options": {"deepgram": {"smart_format": False}}}
    async with running(settings) as (at, _), aiohttp.ClientSession(at) as session:
        async with session.post(f"/models/{MODEL}", data=BytesIO(WAV)) as reply:
            assert reply.status == 200, await reply.text()
        form = aiohttp.FormData({"parameters": json.dumps(options)})
        form.add_field("inputs", BytesIO(WAV), filename="a.wav")
        async with session.post(f"/models/{MODEL}", data=form) as reply:
            assert reply.status == 200, await reply.text()
    assert [(each["numerals"], each["smart_format"]) for each in asked] == [("true", "true"), ("true", "false")]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"smart_fromat": True}, r"models\.openai/whisper.*target up/nova-3: options\.smart_fromat: "),
        ({"numerals": "often"}, r"options\.numerals: "),
    ],
)
def test_wrong_ones_stop_the_start(options: dict[str, Any], says: str) -> None:
    with pytest.raises(BadConfiguration, match=says):
        build_routes(with_options("http://127.0.0.1:9", **options), load_catalog())


def test_those_that_the_model_does_not_read_stop_it_too() -> None:
    account = AccountSettings(adapter="sarvam", api_key=SecretStr("planted"))
    target = Target(target="up/saaras:v3", substitute=True, options={"keyterms": ["a"]})
    settings = routed(MODEL, {"up": account}, "up/saaras:v3").model_copy(
        update={"models": {MODEL: Route(targets=(target,))}}
    )
    with pytest.raises(BadConfiguration, match="has the option keyterms, which the model does not read; it reads mode"):
        build_routes(settings, load_catalog())
