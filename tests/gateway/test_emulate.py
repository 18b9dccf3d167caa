"""What an emulator prints is a configuration that reaches it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest
import yaml
from blake3 import blake3

from config.catalog import load_catalog
from config.settings import Settings, load
from gateway.defaults import check_adapters
from gateway.emulate import configuration
from gateway.fleet import build_routes
from providers.registry import PROVIDERS
from tests.conftest import KEY, sample
from tests.serving import running

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

CATALOG = load_catalog()


@pytest.mark.parametrize("name", sorted(PROVIDERS))
async def test_the_configuration_works(name: str, emulate: Callable[..., Awaitable[str]], tmp_path: Path) -> None:
    """Written, read and checked as a file, then served; the audio arrives there byte for byte."""
    document = configuration(name, await emulate(name), KEY, CATALOG)
    (tmp_path / "emulated.yaml").write_text(yaml.safe_dump(document))
    settings = load(tmp_path / "emulated.yaml")
    check_adapters(settings)
    build_routes(settings, CATALOG)
    (model,) = settings.models

    async with (
        running(on_a_free_port(settings)) as (url, _),
        aiohttp.ClientSession() as session,
        session.post(f"{url}/models/{model}", data=sample("slushy.wav")) as answer,
    ):
        assert (answer.status, answer.headers["X-Gateway-Provider"]) == (200, name)
        assert (await answer.json())["text"] == f"blake3 {blake3(sample('slushy.wav')).hexdigest()}"


def on_a_free_port(settings: Settings) -> Settings:
    return settings.model_copy(update={"server": settings.server.model_copy(update={"port": 0})})
