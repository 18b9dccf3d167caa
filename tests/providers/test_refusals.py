"""What a refusal says whoever wrote it: money that is gone is no rate limit, and a rate limit no empty account."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import CredentialsRejected, ProviderError, ProviderUnavailable, QuotaExhausted, RateLimited
from providers.exchange import HttpReply
from providers.refusals import by_reply


def refusal(status: int, body: object, **headers: str) -> HttpReply:
    return HttpReply(status=status, headers=headers, body=json.dumps(body).encode())


@pytest.mark.parametrize(
    ("status", "body"),
    [
        # OpenAI and who speaks like it
        (429, {"error": {"message": "no", "type": "insufficient_quota", "code": "insufficient_quota"}}),
        (429, {"error": {"message": "You exceeded your current quota, please check your plan and billing details."}}),
        (429, {"error": {"message": "no", "code": "billing_hard_limit_reached"}}),
        (429, {"error": {"message": "no", "code": "billing_not_active"}}),
        (429, {"error": {"code": "insufficient_quota_error"}}),
        # fal.ai
        (
            403,
            {"detail": "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."},
        ),
        # Replicate
        (402, {"title": "Insufficient credit", "detail": "You have insufficient credit to run this model."}),
        (429, {"detail": "You have insufficient credit to run this model."}),
        # Hugging Face
        (402, {"error": "You have exceeded your monthly included credits for Inference Providers."}),
        (429, {"error": "You have reached the free monthly usage limit for hf-inference."}),
        # Deepgram, Together, Rev AI
        (402, {"err_code": "ASR_PAYMENT_REQUIRED", "err_msg": "Project does not have enough credits"}),
        (402, {"error": {"message": "Credit limit exceeded"}}),
        (403, {"title": "You do not have enough credits"}),
        (429, {"error": "You have reached your spending limit"}),
        (402, None),
    ],
    ids=str,
)
def test_money_that_is_gone_is_the_operators_matter(status: int, body: object) -> None:
    assert type(by_reply("p", refusal(status, body))) is QuotaExhausted


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "Rate limit reached for requests", "type": "requests", "code": "rate_limit_exceeded"}},
        {
            "error": {
                "message": "Rate limit reached for whisper-1 on requests per min. Limit: 3 / min. Try again in 20s."
                " You can increase your rate limit by adding a payment method to your account at https://x/billing."
            }
        },
        {
            "detail": "Request was throttled. Your rate limit for creating predictions is reduced to 6 requests per"
            " minute with a burst of 1 requests while you have less than $5.0 in credit. Your rate limit resets in 30s."
        },
        {"detail": "Concurrent requests limit reached"},
        {"error": "the load balancer is busy"},
    ],
    ids=str,
)
def test_a_rate_limit_that_speaks_of_money_is_still_one(body: object) -> None:
    assert type(by_reply("p", refusal(429, body))) is RateLimited


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_no_empty_account(status: int) -> None:
    assert type(by_reply("p", refusal(status, {"error": "Invalid API key"}))) is CredentialsRejected


def test_a_failure_is_one_whatever_it_says_of_money() -> None:
    assert type(by_reply("p", refusal(500, {"error": "insufficient_quota of memory"}))) is ProviderUnavailable


@pytest.mark.parametrize(("status", "kind"), [(429, RateLimited), (503, ProviderUnavailable)])
def test_when_to_come_back_is_kept(status: int, kind: type[RateLimited | ProviderUnavailable]) -> None:
    named = by_reply("p", refusal(status, {}, **{"retry-after": "7"}))

    assert isinstance(named, kind)
    assert (named.retry_after_s, named.reason) == (7.0, f"status {status}")


@given(status=st.integers(0, 999), body=st.binary(max_size=80))
def test_any_refusal_has_a_name_and_repeats_nothing(status: int, body: bytes) -> None:
    named = by_reply("p", HttpReply(status=status, body=body))

    assert isinstance(named, ProviderError)
    assert named.reason in {f"status {status}", "the account is out of credit"}
