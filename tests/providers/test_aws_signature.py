"""Signatures: what is signed, and what a key is. That they are right, the emulator tells by making them again."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from providers.audio.content import MemoryContent
from providers.aws_signature import joined, signed_headers
from providers.errors import CredentialsRejected
from providers.exchange import HttpRequest
from providers.types import Account

URL = "https://transcribe.us-east-1.amazonaws.com/"


def account(key: str | None, **options: str) -> Account:
    options = options or {"access_key_id": "AKID"}
    return Account(
        name="a", adapter="aws-transcribe", base_urls={}, api_key=SecretStr(key) if key else None, options=options
    )


def test_a_call_is_signed_with_its_body_and_time() -> None:
    request = HttpRequest(method="POST", url=URL, headers={"x-amz-target": "T.Op"}, body=(b"{}",))
    headers = signed_headers(request, account("secret"), service="transcribe", region="us-east-1")

    assert headers["x-amz-target"] == "T.Op"
    assert "/us-east-1/transcribe/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target," in headers["authorization"]
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
    assert "x-amz-security-token" not in headers
    assert "secret" not in str(headers)


def test_an_upload_is_signed_without_its_body() -> None:
    """It would have to be read twice."""
    request = HttpRequest(method="PUT", url=URL + "key", body=(MemoryContent(b"audio"),))
    headers = signed_headers(request, account("secret:session"), service="s3", region="us-east-1")

    assert headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert headers["x-amz-security-token"] == "session"
    assert "x-amz-security-token" in headers["authorization"]


def test_without_a_secret_nothing_is_signed() -> None:
    with pytest.raises(CredentialsRejected):
        signed_headers(HttpRequest(method="GET", url=URL), account(None), service="s3", region="us-east-1")


def test_a_key_that_was_fetched_has_its_access_key_in_it() -> None:
    fetched = account(joined("ASIA", "secret", "session"), region="us-east-1")
    headers = signed_headers(HttpRequest(method="GET", url=URL), fetched, service="s3", region="us-east-1")

    assert headers["x-amz-security-token"] == "session"
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=ASIA/")


def test_one_without_an_end_has_no_session() -> None:
    fetched = account(joined("AKID", "secret", None), region="us-east-1")
    headers = signed_headers(HttpRequest(method="GET", url=URL), fetched, service="s3", region="us-east-1")

    assert "x-amz-security-token" not in headers
