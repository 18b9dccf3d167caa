"""How requests to AWS are let in: Signature Version 4, through botocore's signer (extra `aws`).

Source: botocore 1.44.8 `auth.py`; docs.aws.amazon.com, "Signature Version 4" (2026).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from providers.errors import CredentialsRejected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.exchange import HttpRequest
    from providers.types import Account

# The audio is replayed slice by slice, and read but once: TLS guards it on its way.
_UNSIGNED = Config(s3={"payload_signing_enabled": False})

_OPTION = "access_key_id"


def signed_headers(request: HttpRequest, account: Account, *, service: str, region: str) -> Mapping[str, str]:
    """Return the request's headers with a signature of now. Raises CredentialsRejected where there is no key.

    A body is signed too, unless it goes to S3.
    """
    body = b"" if service == "s3" else b"".join(piece for piece in request.body if isinstance(piece, bytes))
    ready = AWSRequest(method=request.method, url=request.url, data=body, headers=dict(request.headers))
    ready.context["client_config"] = _UNSIGNED
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(_credentials(account), service, region).add_auth(ready)
    return {name.lower(): value for name, value in ready.headers.items()}


def joined(access_key: str, secret: str, session_token: str | None) -> str:
    """Return credentials that were fetched as one key, for an account without an access key of its own."""
    return ":".join((access_key, secret, session_token or ""))


def _credentials(account: Account) -> Credentials:
    """Read an account's key: `secret[:session token]`, before which stands the access key where no option names it."""
    if account.api_key is None:
        raise CredentialsRejected(account.adapter, "it has no secret access key")
    key = account.api_key.get_secret_value()
    access_key, _, rest = key.partition(":") if _OPTION not in account.options else (account.options[_OPTION], "", key)
    secret, _, session_token = rest.partition(":")
    return Credentials(access_key, secret, session_token or None)
