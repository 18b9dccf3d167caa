"""How a request is let in. The only functions that read a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from providers.exchange import HttpRequest
    from providers.provider import Authorize
    from providers.types import Account


def bearer(request: HttpRequest, account: Account) -> HttpRequest:
    """Add `Authorization: Bearer <key>`, or nothing where the account has no key."""
    return _with_header(request, account, "authorization", "Bearer ")


def key_header(name: str, prefix: str = "") -> Authorize:
    """Return what adds the key under a header's name. name: lower case."""

    def authorize(request: HttpRequest, account: Account) -> HttpRequest:
        return _with_header(request, account, name, prefix)

    return authorize


def key_or_entra(name: str) -> Authorize:
    """Return what adds an Azure account's key under a header's name, or as a bearer's the token of Entra it has."""
    by_key = key_header(name)

    def authorize(request: HttpRequest, account: Account) -> HttpRequest:
        return (bearer if account.options.get("auth") == "entra" else by_key)(request, account)

    return authorize


def check_entra(account: Account) -> None:
    """Raise ValueError where an Azure account's `auth` is none."""
    if account.options.get("auth", "key") not in {"key", "entra"}:
        raise ValueError("options.auth must be key or entra")


def _with_header(request: HttpRequest, account: Account, name: str, prefix: str) -> HttpRequest:
    if account.api_key is None:
        return request
    return replace(request, headers={**request.headers, name: prefix + account.api_key.get_secret_value()})
