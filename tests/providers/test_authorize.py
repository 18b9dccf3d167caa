"""How a request is let in."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from pydantic import SecretStr

from providers.authorize import bearer, check_entra, key_header, key_or_entra
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


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ({}, {"api-key": "sk-1"}),
        ({"auth": "key"}, {"api-key": "sk-1"}),
        ({"auth": "entra"}, {"authorization": "Bearer sk-1"}),
    ],
)
def test_an_azure_account_says_which_it_has(options: dict[str, str], header: dict[str, str]) -> None:
    account = replace(ACCOUNT, options=options)
    check_entra(account)

    assert key_or_entra("api-key")(REQUEST, account).headers == {"accept": "*/*", **header}


def test_an_azure_account_cannot_have_another() -> None:
    with pytest.raises(ValueError, match="key or entra"):
        check_entra(replace(ACCOUNT, options={"auth": "token"}))


def test_a_server_without_keys_is_sent_none() -> None:
    assert bearer(REQUEST, OPEN) is REQUEST
    assert key_header("xi-api-key")(REQUEST, OPEN) is REQUEST


def test_a_key_shows_in_no_repr() -> None:
    assert "sk-1" not in repr(ACCOUNT)
