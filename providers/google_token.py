"""Access tokens of Google Cloud, through google-auth (extra `google`): a service account's, a workload's, a machine's.

Source: google-auth 2.63.0; cloud.google.com/docs/authentication (2026). An account's `credentials_file` holds a service
account's key, the configuration of a workload identity pool, or a person's login. Without one it is what the machine
has: GOOGLE_APPLICATION_CREDENTIALS, gcloud's login, or the metadata server.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import google.auth
from google.auth import aws, identity_pool, pluggable
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError, TransportError
from google.auth.transport import Request, Response
from google.oauth2 import credentials as user
from google.oauth2 import service_account
from pydantic import SecretStr

from providers.credentials import FETCH_S, Token
from providers.errors import CredentialsRejected, ProviderError, ProviderUnavailable
from providers.exchange import HttpReply, HttpRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.credentials import Ask
    from providers.types import Account

_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)


async def fetch(account: Account, ask: Ask) -> Token:
    """Return a new token. The library blocks: it has a thread, and its requests go through ask."""
    asking = _Asking(ask, asyncio.get_running_loop())
    try:
        return await asyncio.to_thread(_fetched, account.options.get("credentials_file"), asking)
    except TransportError as error:
        raise ProviderUnavailable(account.adapter, "no answer from where tokens are given") from error
    except (OSError, ValueError, KeyError, AttributeError) as error:  # google-auth's own MalformedError among them
        raise CredentialsRejected(account.adapter, "its credentials_file cannot be read, or is none") from error
    except DefaultCredentialsError as error:
        raise CredentialsRejected(account.adapter, "no credentials of Google Cloud are to be found") from error
    except GoogleAuthError as error:
        if error.retryable:
            raise ProviderUnavailable(account.adapter, "no token now") from error
        raise CredentialsRejected(account.adapter, "no token is given for these credentials") from error


class _Reply(Response):
    """A reply as google-auth wants it."""

    def __init__(self, reply: HttpReply) -> None:
        self._reply = reply

    @property
    def status(self) -> int:
        return self._reply.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._reply.headers

    @property
    def data(self) -> bytes:
        return self._reply.body


class _Asking(Request):
    """Sends google-auth's requests, from its thread, over the session of the loop."""

    def __init__(self, ask: Ask, loop: asyncio.AbstractEventLoop) -> None:
        self._ask = ask
        self._loop = loop

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002 - ask has its own
        **_: Any,  # noqa: ANN401 - as it comes
    ) -> _Reply:
        named = {name.lower(): value for name, value in (headers or {}).items()}
        whole = body.encode() if isinstance(body, str) else body
        request = HttpRequest(method=method, url=url, headers=named, body=(whole,) if whole else ())
        try:
            return _Reply(asyncio.run_coroutine_threadsafe(self._asked(request), self._loop).result(FETCH_S))
        except (ProviderError, TimeoutError) as error:
            raise TransportError("no answer") from error

    async def _asked(self, request: HttpRequest) -> HttpReply:
        return await self._ask(request)


def _fetched(file: str | None, asking: _Asking) -> Token:
    found = _loaded(json.loads(Path(file).read_text())) if file else google.auth.default(_SCOPES, request=asking)[0]
    found.refresh(asking)
    if not isinstance(found.token, str):
        raise RefreshError("no token")
    lasts_s = (found.expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds() if found.expiry else None
    return Token(secret=SecretStr(found.token), lasts_s=lasts_s)


def _loaded(document: dict[str, Any]) -> Any:  # noqa: ANN401 - each of google-auth's own
    """Return the credentials that a document describes. Raises ValueError."""
    match document.get("type"):
        case "service_account":
            return service_account.Credentials.from_service_account_info(document, scopes=_SCOPES)
        case "external_account":
            source = document.get("credential_source") or {}
            is_aws = str(source.get("environment_id", "")).startswith("aws")
            of = aws if is_aws else pluggable if "executable" in source else identity_pool
            return of.Credentials.from_info(document, scopes=_SCOPES)
        case "authorized_user":
            return user.Credentials.from_authorized_user_info(document, scopes=_SCOPES)
        case _:
            raise ValueError("credentials of an unknown kind")
