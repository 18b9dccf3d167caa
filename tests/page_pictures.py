"""Renew the README's pictures of the page: python -m tests.page_pictures [FOLDER]."""

from __future__ import annotations

import sys
import tempfile
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faulty import answers, faulty
from tests.gateway.console.browser import browser
from tests.gateway.console.conftest import ADMIN, settings
from tests.serving import in_a_thread, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.gateway.console.browser import Browser

DOCS = Path(__file__).parents[1] / "docs"
MODELS = ("openai/whisper-tiny.en", "acme/fails", "acme/hangs")


@asynccontextmanager
async def _serving(folder: Path) -> AsyncIterator[str]:
    async with (
        faulty(answers(402, {"error": "no credit"})) as poor,
        faulty(answers(500, {"error": "broken"})) as broken,
        running(settings(folder, slow=poor.url, broken=broken.url)) as (url, _),
    ):
        yield url


def _ask(tab: Browser, model: str) -> None:
    tab.until(lambda: tab.run("return document.querySelectorAll('#model option').length > 1"))
    tab.choose("#model", model)
    tab.click("#sample")
    tab.wait_for("#chosen", "sample.mp3")
    tab.click("#go")
    tab.until(lambda: tab.run("return !document.getElementById('go').disabled"))


def _take(tab: Browser, path: Path) -> None:
    path.write_bytes(tab.driver.get_screenshot_as_png())
    sys.stdout.write(f"{path.name}: {path.stat().st_size} bytes\n")


def main(folder: Path) -> None:
    """Take the page in its first two views, one in light, one in dark."""
    room = Path(tempfile.mkdtemp())
    with in_a_thread(partial(_serving, room)) as url, browser(room) as tab:
        tab.scheme("light", 1200, 880)
        tab.go(url)
        tab.run(f"sessionStorage.setItem('asr-gateway-key', '{ADMIN}')")
        tab.go(url)
        for model in reversed(MODELS):
            _ask(tab, model)
        tab.run("document.getElementById('player').currentTime = 3.2; document.activeElement.blur(); scrollTo(0, 0)")
        tab.one(".word.on")
        _take(tab, folder / "page-transcribe.png")
        tab.scheme("dark", 1200, 640)
        tab.click("nav a[href='#status']")
        tab.one("#status-body table")
        tab.run("document.activeElement.blur()")
        _take(tab, folder / "page-status.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS)
