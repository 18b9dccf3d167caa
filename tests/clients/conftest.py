"""One demonstration gateway for all clients of a test process: the model takes seconds to load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.serving import demo_settings, running_in_a_thread

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def gateway_url() -> Iterator[str]:
    with running_in_a_thread(demo_settings()) as url:
        yield url
