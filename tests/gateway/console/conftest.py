"""A gateway with keys, the embedded model and two models that go wrong, for a browser to be pointed at."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from config.auth import Auth
from config.cache import Cache
from config.settings import AccountSettings, Route, Settings, Target
from config.usage import Usage
from tests.asking import key
from tests.faulty import answers, faulty, hangs
from tests.gateway.console.browser import browser
from tests.serving import demo_settings, in_a_thread, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.gateway.console.browser import Browser

CALLER, ADMIN = "hf_gw_newsroom", "hf_gw_boss"
HANGS, FAILS = "acme/hangs", "acme/fails"
_KEYS = Auth.model_validate({"mode": "keys", "keys": [key("newsroom", CALLER), key("boss", ADMIN, role="admin")]})


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a gateway that wants keys."""
    with in_a_thread(partial(_serving, tmp_path_factory.mktemp("gateway"))) as url:
        yield url


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return a browser, in which asr.example.com is this machine."""
    with browser(tmp_path_factory.mktemp("browser"), "--host-resolver-rules=MAP asr.example.com 127.0.0.1") as tab:
        yield tab


@asynccontextmanager
async def _serving(folder: Path) -> AsyncIterator[str]:
    async with (
        faulty(hangs) as slow,
        faulty(answers(500, {"error": "acme is broken"})) as broken,
        running(settings(folder, slow=slow.url, broken=broken.url)) as (url, _),
    ):
        yield url


def settings(folder: Path, **upstreams: str) -> Settings:
    """Return what it serves. upstreams: the addresses behind the accounts `slow` and `broken`."""
    demo = demo_settings()
    accounts = {
        name: AccountSettings(adapter="hf-inference", base_url=url, api_key=SecretStr("emulated-key"))
        for name, url in upstreams.items()
    }
    wrong = {
        model: Route(targets=(Target(target=f"{account}/whisper", substitute=True),))
        for model, account in ((HANGS, "slow"), (FAILS, "broken"))
    }
    return demo.model_copy(
        update={
            "auth": _KEYS,
            "cache": Cache(),
            "usage": Usage(path=folder / "usage.sqlite"),
            "providers": {**demo.providers, **accounts},
            "models": {**demo.models, **wrong},
        }
    )
