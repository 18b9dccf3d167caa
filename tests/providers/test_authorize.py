"""How a request is let in."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from providers.authorize import bearer, key_header
from providers.exchange import HttpRequest
from providers.provider import Authorize
from providers.types import Account

REQUEST = HttpRequest(method="GET", url="https://acme.example/v1", headers={"accept": "*/*"})
ACCOUNT = Account(name="a", adapter="acme", base_urls={}, api_key=SecretStr("sk-1"))
OPEN = Account(name="a", adapter="acme", base_urls={})


@pytest.mark.parametrize(
    ("authorize", "header", "value"),
    [
        (bearer, "authorization", "Bearer sk-1"),
        (key_header("authorization", prefix="Key "), "authorization", "Key sk-1"),
        (key_header("xi-api-key"), "xi-api-key", "sk-1"),
    ],
)
def test_the_key_goes_where_the_service_reads_it(authorize: Authorize, header: str, value: str) -> None:
    let_in = authorize(REQUEST, ACCOUNT)

    assert let_in.headers == {"accept": "*/*", header: value}
    assert dict(REQUEST.headers) == {"accept": "*/*"}


def test_a_server_without_keys_is_sent_none() -> None:
    assert bearer(REQUEST, OPEN) is REQUEST
    assert key_header("xi-api-key")(REQUEST, OPEN) is REQUEST


def test_a_key_shows_in_no_repr() -> None:
    assert "sk-1" not in repr(ACCOUNT)
