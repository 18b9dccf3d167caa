"""What is peculiar to Azure: deployments behind models, two kinds of routes, a key or a token."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from config.catalog import load_catalog
from providers import azure_openai, openai
from providers.azure_openai import AZURE_OPENAI, AzureOptions
from providers.exchange import HttpReply, HttpRequest
from providers.types import Account, Deployment, Task, Timestamps
from tests.driving import first_request, form_parts

ROOT = "https://mine.openai.azure.com"


def at(native_model: str, url: str = ROOT, **options: str) -> Deployment:
    account = Account(name="a", adapter="azure-openai", base_urls={"api": url}, api_key=SecretStr("k"), options=options)
    return Deployment(account=account, native_model=native_model)


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "/openai/v1/audio/transcriptions"),
        ({"api_version": "v1"}, "/openai/v1/audio/transcriptions?api-version=v1"),
        ({"api_version": "preview"}, "/openai/v1/audio/transcriptions?api-version=preview"),
        ({"api_version": "2024-10-21"}, "/openai/deployments/my%20own/audio/transcriptions?api-version=2024-10-21"),
        (
            {"api_version": "2025-03-01-preview"},
            "/openai/deployments/my%20own/audio/transcriptions?api-version=2025-03-01-preview",
        ),
    ],
    ids=str,
)
def test_the_version_chooses_the_route(options: dict[str, str], url: str) -> None:
    assert first_request(at("whisper:my own", **options)).url == ROOT + url


def test_an_address_that_names_v1_already_is_the_same() -> None:
    assert first_request(at("whisper:w", f"{ROOT}/openai/v1")).url == f"{ROOT}/openai/v1/audio/transcriptions"


def test_a_translation_has_its_own_route() -> None:
    built = first_request(at("whisper:w", api_version="2024-10-21"), task=Task.TRANSLATE)

    assert built.url == f"{ROOT}/openai/deployments/w/audio/translations?api-version=2024-10-21"


def test_the_form_is_of_the_model_and_names_the_deployment() -> None:
    whisper = form_parts(first_request(at("whisper:mine"), timestamps=Timestamps.SEGMENT, language="fr"))
    diarizes = form_parts(first_request(at("gpt-4o-transcribe-diarize:d"), diarize=True))
    listed = form_parts(first_request(at("gpt-transcribe:g"), language="fr"))

    assert whisper == [
        ("model", "mine"),
        ("response_format", "verbose_json"),
        ("language", "fr"),
        ("timestamp_granularities[]", "segment"),
    ]
    assert diarizes == [("model", "d"), ("response_format", "diarized_json"), ("chunking_strategy", "auto")]
    assert listed == [("model", "g"), ("response_format", "json"), ("languages[]", "fr")]


def test_options_are_openais() -> None:
    options = {"azure-openai": AzureOptions(keywords=["slushy"])}

    assert ("keywords[]", "slushy") in form_parts(first_request(at("gpt-transcribe:g"), provider_options=options))


@pytest.mark.parametrize(
    ("options", "header"),
    [({}, {"api-key": "k"}), ({"auth": "key"}, {"api-key": "k"}), ({"auth": "entra"}, {"authorization": "Bearer k"})],
    ids=str,
)
def test_a_key_and_a_token_have_different_headers(options: dict[str, str], header: dict[str, str]) -> None:
    bare = HttpRequest(method="POST", url=ROOT)

    assert AZURE_OPENAI.authorize(bare, at("whisper", **options).account).headers == header


@pytest.mark.parametrize("wrong", [{"api_version": "latest"}, {"auth": "basic"}], ids=str)
def test_options_that_are_none_do_not_fit(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="options"):
        azure_openai.capabilities(at("whisper", **wrong))


def test_the_half_before_the_colon_says_what_it_can_do_and_costs() -> None:
    catalog = load_catalog()

    assert azure_openai.capabilities(at("whisper:w")).timestamps == openai.MODELS["whisper-1"].timestamps
    assert azure_openai.capabilities(at("whisper")) == azure_openai.capabilities(at("whisper:w"))
    assert azure_openai.capabilities(at("w")).timestamps == frozenset()
    assert catalog.price("azure-openai", "whisper:w") == catalog.price("azure-openai", "whisper")
    assert catalog.price("azure-openai", "w:whisper") is None


def test_its_own_request_id_comes_first() -> None:
    headers = {"apim-request-id": "a", "x-request-id": "x"}

    assert azure_openai.parse_reply(HttpReply(status=200, headers=headers, body=b'{"text": ""}')).request_id == "a"
