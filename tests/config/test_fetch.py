"""A host is a name: what any parser could take for an address stops the start."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from config.fetch import Fetch


@pytest.mark.parametrize(
    "host",
    [
        "media.example.org",
        "*.example.org",
        "a-b.example.org:8443",
        "localhost:1",
        "xn--bcher-kva.example",
        "1.example.org",
    ],
)
def test_names_may_be_listed(host: str) -> None:
    assert Fetch(hosts=(host,)).hosts == (host,)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "*",
        "*.org",  # everything below a whole domain of the top level
        "*.*.example.org",
        "a*.example.org",
        "https://media.example.org",
        "media.example.org/audio",
        "user@media.example.org",
        "media.example.org.",
        "media..example.org",
        "-media.example.org",
        "media_1.example.org",
        "bücher.example",
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[::1]",
        "::1",
        "example.0x7f",
        "media.example.org:0",
        "media.example.org:65536",
        "media.example.org:443:443",
        "media.example.org\n",
        ".".join(["a" * 63] * 5),
    ],
)
def test_anything_else_is_refused(host: str) -> None:
    with pytest.raises(ValidationError, match="a host is a name"):
        Fetch(hosts=(host,))


def test_the_list_ends_somewhere() -> None:
    with pytest.raises(ValidationError, match="at most 256"):
        Fetch(hosts=tuple(f"a{n}.example.org" for n in range(257)))
