"""Credentials of AWS that end, through botocore's own chain (extra `aws`): environment, profiles, roles, the machine's.

Source: botocore 1.44.8 `credentials.py`; docs.aws.amazon.com/sdkref, "Standardized credential providers" (2026). An
account's `profile` names one of the shared files, which may assume a role, log in through SSO or run a process; without
one it is AWS_PROFILE, and all else that the chain looks for: variables, a web identity's file, a container's or an
instance's metadata. `role_arn` is a role that is assumed with what was found, `external_id` what its owner may ask for.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import botocore.session
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own
    CredentialRetrievalError,
    HTTPClientError,
    MetadataRetrievalError,
    ProfileNotFound,
)
from botocore.httpsession import URLLib3Session
from pydantic import SecretStr

from providers.aws_signature import joined
from providers.credentials import Token
from providers.errors import CredentialsRejected, ProviderUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.credentials import Ask
    from providers.errors import ProviderError
    from providers.types import Account

# botocore's usual minute, five times over, is longer than anybody here waits. No proxies: none are used here.
_SHORT: Final = Config(
    connect_timeout=5, read_timeout=5, retries={"total_max_attempts": 2, "mode": "standard"}, proxies={}
)
# RuntimeError: what was given has ended already.
_LATER: Final = (ConnectionError, HTTPClientError, CredentialRetrievalError, MetadataRetrievalError, RuntimeError)


async def fetch(account: Account, ask: Ask) -> Token:
    """Return new credentials. The library blocks: it has a thread.

    Its requests are its own, not ask's: each link of the chain builds its client itself. They go where AWS's documents
    and the operator's environment say, never where a reply does.
    """
    del ask
    try:
        return await asyncio.to_thread(_fetched, account.options, account.adapter)
    except _LATER as error:
        raise ProviderUnavailable(account.adapter, "no answer from where credentials are given") from error
    except ClientError as error:
        raise _refused(account.adapter, error) from error
    except ProfileNotFound as error:
        raise CredentialsRejected(account.adapter, "its profile is not to be found") from error
    except (
        BotoCoreError,
        OSError,
        EOFError,
        ValueError,
        KeyError,
    ) as error:  # EOFError: a profile that asks for a code
        raise CredentialsRejected(account.adapter, "no credentials can be had of what is configured") from error


def _refused(adapter: str, error: ClientError) -> ProviderError:
    """Name what the giver of credentials said: it may be overloaded."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    if status >= 500 or "Throttl" in error.response.get("Error", {}).get("Code", ""):
        return ProviderUnavailable(adapter, "no credentials now")
    return CredentialsRejected(adapter, "its role may not be assumed")


def _fetched(options: Mapping[str, str], adapter: str) -> Token:
    logging.getLogger("botocore").setLevel(logging.WARNING)  # below that it writes whole replies, credentials and all
    session = botocore.session.Session(profile=options.get("profile"))
    session.set_config_variable("region", options["region"])  # roles are asked for where the audio goes
    session.set_default_client_config(_SHORT)
    _ask_directly(session)
    found: Any = session.get_credentials()
    if found is None:
        raise CredentialsRejected(adapter, "no credentials of AWS are to be found")
    if role := options.get("role_arn"):
        found = _assumed(session, found, role, options)
    now = found.get_frozen_credentials()
    ends_at: datetime | None = getattr(found, "_expiry_time", None)  # said nowhere else
    lasts_s = (ends_at - datetime.now(UTC)).total_seconds() if ends_at else None
    return Token(secret=SecretStr(joined(now.access_key, now.secret_key, now.token)), lasts_s=lasts_s)


def _ask_directly(session: botocore.session.Session) -> None:
    """Take the environment's proxies from the link that asks an instance's metadata: it alone reads no client's config.

    What is a machine's own address here is another machine's at the proxy, and credentials in the clear on the way.
    """
    fetcher: Any = session.get_component("credential_provider").get_provider("iam-role")._role_fetcher  # noqa: SLF001
    fetcher._session = URLLib3Session(timeout=fetcher._timeout)  # noqa: SLF001


def _assumed(session: botocore.session.Session, found: Any, role: str, options: Mapping[str, str]) -> Any:  # noqa: ANN401 - botocore has no types
    more = {"ExternalId": options["external_id"]} if "external_id" in options else {}
    asked = {"RoleSessionName": "asr-gateway", **more}
    fetcher = AssumeRoleCredentialFetcher(session.create_client, found, role, extra_args=asked)
    return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
