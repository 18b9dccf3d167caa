"""One demonstration gateway for all clients of a test process: the model takes seconds to load."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tests.conftest import AUDIO
from tests.serving import demo_settings, digesting, in_a_thread, running_in_a_thread

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def gateway_url() -> Iterator[str]:
    with running_in_a_thread(demo_settings()) as url:
        yield url


@pytest.fixture(scope="session")
def digest_url() -> Iterator[str]:
    """Return a gateway whose one model, openai/whisper-large-v3, answers with the upload's digest."""
    with in_a_thread(partial(digesting, "openai/whisper-large-v3")) as url:
        yield url


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def site_url() -> Iterator[str]:
    """Return a web site with the recordings, for clients that are given an address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(AUDIO))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
