"""What is peculiar to Azure AI Speech: a definition in JSON, locales, a prompt of terms or of words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from providers.azure_speech import AzureSpeechOptions, capabilities, classify_error
from providers.errors import QuotaExhausted
from providers.exchange import HttpReply
from providers.types import Account, Deployment, Task, Timestamps
from tests.driving import first_request, form_parts

ROOT = "https://eastus.api.cognitive.microsoft.com"
PLAIN = {"profanityFilterMode": "None"}


def at(native_model: str = "fast", **options: str) -> Deployment:
    account = Account(
        name="a", adapter="azure-speech", base_urls={"api": ROOT}, api_key=SecretStr("k"), options=options
    )
    return Deployment(account=account, native_model=native_model)


def definition(to: Deployment | None = None, **wanted: Any) -> dict[str, Any]:
    ((name, text),) = form_parts(first_request(to or at(), **wanted))
    assert name == "definition"
    told: dict[str, Any] = json.loads(text)
    return told


def options(**given: Any) -> dict[str, AzureSpeechOptions]:
    return {"azure-speech": AzureSpeechOptions(**given)}


def test_the_version_is_the_accounts() -> None:
    path = "/speechtotext/transcriptions:transcribe?api-version="

    assert first_request(at()).url == f"{ROOT}{path}2025-10-15"
    assert first_request(at(api_version="2024-11-15")).url == f"{ROOT}{path}2024-11-15"


@pytest.mark.parametrize("given", [{"api_version": "v1"}, {"api_version": ""}, {"auth": "token"}], ids=str)
def test_an_account_that_is_none_is_told_so(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"options\.(api_version|auth) must be"):
        capabilities(at(**given))


@pytest.mark.parametrize(
    ("language", "locale"),
    [("en", "en-US"), ("German", "de-DE"), ("pt-pt", "pt-PT"), ("no", "nb-NO"), ("yue", "zh-HK"), ("xx", "xx")],
)
def test_a_language_is_a_locale(language: str, locale: str) -> None:
    given = options(locales=["fr-FR", "fr-CA"])

    assert definition(language=language, provider_options=given) == {**PLAIN, "locales": [locale]}


def test_without_a_language_it_listens_for_those_given_or_for_all() -> None:
    assert definition() == definition(timestamps=Timestamps.WORD) == PLAIN
    assert definition(provider_options=options(locales=["fr-FR"])) == {**PLAIN, "locales": ["fr-FR"]}


def test_speakers_are_told_apart_where_asked() -> None:
    given = options(max_speakers=3)

    assert definition(diarize=True) == {**PLAIN, "diarization": {"enabled": True, "maxSpeakers": 35}}
    assert definition(diarize=True, provider_options=given)["diarization"]["maxSpeakers"] == 3
    assert definition(provider_options=given) == PLAIN


def test_a_prompt_is_terms_to_expect() -> None:
    given = options(phrases=["draughty roads"], biasing_weight=2.5, profanity_filter_mode="Tags")

    assert definition(prompt="slushy, Nova", provider_options=given) == {
        "profanityFilterMode": "Tags",
        "phraseList": {"phrases": ["slushy", "Nova", "draughty roads"], "biasingWeight": 2.5},
    }
    assert definition(prompt=",") == PLAIN


def test_a_language_model_takes_the_prompt_as_it_is_and_translates() -> None:
    llm = at("llm-speech")
    heard = definition(llm, prompt="slushy, Nova", provider_options=options(phrases=["a"]))
    translated = definition(llm, task=Task.TRANSLATE)

    assert heard == {**PLAIN, "enhancedMode": {"enabled": True, "task": "transcribe", "prompt": ["slushy, Nova"]}}
    assert translated == {**PLAIN, "enhancedMode": {"enabled": True, "task": "translate", "targetLanguage": "en"}}
    assert (Task.TRANSLATE in capabilities(llm).tasks, Task.TRANSLATE in capabilities(at()).tasks) == (True, False)


def test_a_free_quota_that_is_used_up_is_no_wrong_key() -> None:
    said = b'{"error": {"code": "403", "message": "Out of call volume quota. Please retry after 12 days."}}'

    assert type(classify_error(HttpReply(status=403, body=said))) is QuotaExhausted


@pytest.mark.parametrize(
    "given", [{"locales": ["en"]}, {"phrases": []}, {"max_speakers": 1}, {"profanity_filter_mode": "off"}, {"x": 1}]
)
def test_options_have_limits(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AzureSpeechOptions(**given)
