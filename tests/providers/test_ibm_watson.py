"""What is peculiar to Watson: a model for each language, options in the query, tokens for a key."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from pydantic import ValidationError

from providers.errors import CredentialsRejected, JobUnsupported, MalformedReply, ProviderUnavailable
from providers.exchange import HttpReply, HttpRequest
from providers.ibm_watson import IBM_WATSON, IbmWatsonOptions, fetch_token
from providers.provider import unread_options
from providers.types import Account, Container, Timestamps, TranscriptionJob
from tests.conftest import sample_audio
from tests.driving import answer, at

PLAIN = {
    "model": "en-US_Multimedia",
    "timestamps": "true",
    "word_confidence": "true",
    "profanity_filter": "false",
    "inactivity_timeout": "-1",
}


def first(native_model: str, options: dict[str, str] | None = None, **wanted: Any) -> HttpRequest:
    job = TranscriptionJob(model="m", audio=sample_audio("sb_spk2_snt1.flac"), **wanted)
    request = next(IBM_WATSON.transcribe(job, at("ibm-watson", native_model, "http://there", **(options or {}))))
    assert isinstance(request, HttpRequest)
    return request


def asked(native_model: str, options: dict[str, str] | None = None, **wanted: Any) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(first(native_model, options, **wanted).url).query))


def test_nothing_asked_for_is_the_text_uncensored_and_to_the_end() -> None:
    request = first("en-US_Multimedia")

    assert (request.bills, request.headers) == (True, {"content-type": "audio/flac"})
    assert asked("en-US_Multimedia") == asked("en-US_Multimedia", timestamps=Timestamps.WORD) == PLAIN


def test_everything_asked_for_is_sent() -> None:
    options = IbmWatsonOptions(profanity_filter=True, low_latency=True, speech_detector_sensitivity=0.4)
    assert asked("en-US_Multimedia", diarize=True, provider_options={"ibm-watson": options}) == {
        **PLAIN,
        "speaker_labels": "true",
        "profanity_filter": "true",
        "low_latency": "true",
        "speech_detector_sensitivity": "0.4",
    }


@pytest.mark.parametrize(
    ("family", "language", "model"),
    [
        ("multimedia", "en", "en-US_Multimedia"),
        ("multimedia", "en-gb", "en-GB_Multimedia"),
        ("multimedia", "pt", "pt-BR_Multimedia"),
        ("telephony", "ar", "ar-MS_Telephony"),
        ("telephony", "es-MX", "es-ES_Telephony"),
        ("large", "es-MX", "es-MX"),
        ("large", "de", "de-DE"),
    ],
)
def test_a_family_has_a_model_for_each_language(family: str, language: str, model: str) -> None:
    assert asked(family, language=language)["model"] == model
    assert asked(family, {"language": language})["model"] == model


@pytest.mark.parametrize("language", [None, "hi", "tlh"])
def test_a_family_without_the_language_is_for_another(language: str | None) -> None:
    with pytest.raises(JobUnsupported, match="name one that it has"):
        first("multimedia", language=language)


def test_a_model_knows_its_own_language() -> None:
    of_its_name = IBM_WATSON.capabilities(at("ibm-watson", "de-DE_Telephony"))
    family = IBM_WATSON.capabilities(at("ibm-watson", "large"))

    assert of_its_name.languages == frozenset({"de", "de-DE"})
    assert family.languages is not None
    assert {"en", "en-IN", "ja", "es-PE"} <= family.languages
    job = TranscriptionJob(
        model="m",
        audio=sample_audio("slushy.mp3"),
        provider_options={"ibm-watson": IbmWatsonOptions(low_latency=True)},
    )
    assert unread_options(job, "ibm-watson", family) == ["low_latency"]
    assert unread_options(job, "ibm-watson", of_its_name) == []


@pytest.mark.parametrize("container", [None, Container.CAF])
def test_what_it_cannot_name_it_finds_out(container: Container | None) -> None:
    audio = sample_audio("sb_spk2_snt1.flac")
    odd = type(audio)(
        content=audio.content, media_type="audio/x", container=container, duration_s=None, digest=audio.digest
    )
    request = next(IBM_WATSON.transcribe(TranscriptionJob(model="m", audio=odd), at("ibm-watson", "en-US")))

    assert isinstance(request, HttpRequest)
    assert request.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "given",
    [
        {"smart_formatting_version": 3},
        {"customization_weight": 1.1},
        {"language_customization_id": "a&b"},
        {"keywords": []},
    ],
)
def test_options_have_limits(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        IbmWatsonOptions(**given)


def account(key: str | None = "k&y") -> Account:
    there = at("ibm-watson", "en-US", "http://there", key=key or "").account
    return there if key else type(there)(name="a", adapter="ibm-watson", base_urls=there.base_urls)


async def test_a_token_is_fetched_with_the_key() -> None:
    sent: list[HttpRequest] = []

    async def ask(request: HttpRequest) -> HttpReply:
        sent.append(request)
        return answer(access_token="t", expires_in=3600)

    token = await fetch_token(account(), ask)

    assert (token.secret.get_secret_value(), token.lasts_s) == ("t", 3600.0)
    body = b"".join(piece for piece in sent[0].body if isinstance(piece, bytes)).decode()
    assert dict(parse_qsl(body)) == {
        "grant_type": "urn:ibm:params:oauth:grant-type:apikey",
        "apikey": "k&y",
        "response_type": "cloud_iam",
    }
    assert "k&y" not in sent[0].url


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answer(400, errorCode="BXNIM0415E"), CredentialsRejected),
        (answer(500), ProviderUnavailable),
        (answer(200), MalformedReply),
        (answer(200, access_token="", expires_in=1), MalformedReply),
    ],
)
async def test_no_token_is_an_error_that_dispatch_knows(reply: HttpReply, error: type[Exception]) -> None:
    async def ask(_: HttpRequest) -> HttpReply:
        return reply

    with pytest.raises(error):
        await fetch_token(account(), ask)


async def test_without_a_key_nobody_is_asked() -> None:
    async def ask(_: HttpRequest) -> HttpReply:
        raise AssertionError("asked")

    with pytest.raises(CredentialsRejected, match="no key"):
        await fetch_token(account(None), ask)
