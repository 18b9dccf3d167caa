"""What is peculiar to Cohere: a language always, and statuses of its own."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from providers.cohere import capabilities, classify_error
from providers.errors import CredentialsRejected, JobUnsupported, ProviderUnavailable, QuotaExhausted, RateLimited
from providers.exchange import HttpReply
from providers.types import GenerationParameters, Timestamps
from tests.driving import at, first_request, form_parts

MODEL = "cohere-transcribe-03-2026"
ENGLISH = at("cohere", MODEL, language="en")


def test_everything_there_is_is_sent() -> None:
    built = first_request(
        ENGLISH,
        language="fr-CA",
        prompt="names",
        timestamps=Timestamps.WORD,
        generation=GenerationParameters(temperature=0.5),
    )

    assert built.url == "https://api.cohere.com/v2/audio/transcriptions"
    assert form_parts(built) == [("model", MODEL), ("language", "fr"), ("temperature", "0.5")]


def test_the_account_names_the_language_where_the_caller_does_not() -> None:
    unnamed = replace(ENGLISH, account=replace(ENGLISH.account, options={}))

    assert form_parts(first_request(ENGLISH)) == [("model", MODEL), ("language", "en")]
    with pytest.raises(JobUnsupported, match="name it"):
        first_request(unnamed)


def test_what_would_be_refused_after_the_upload_is_not_sent() -> None:
    with pytest.raises(JobUnsupported):
        first_request(ENGLISH, generation=GenerationParameters(temperature=1.5))
    assert capabilities(ENGLISH) == capabilities(at("cohere", "new"))


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [
        (498, b"{}", CredentialsRejected),
        (499, b"{}", ProviderUnavailable),
        (429, b'{"message": "limited to 1000 API calls / month"}', QuotaExhausted),
        (429, b'{"message": "limited to 20 API calls / minute"}', RateLimited),
    ],
)
def test_its_own_statuses(status: int, said: bytes, error: type) -> None:
    assert type(classify_error(HttpReply(status=status, body=said))) is error
