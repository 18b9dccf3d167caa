"""What is peculiar to Google's Speech-to-Text: languages with regions, a project in the address, tokens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from providers.errors import JobUnsupported
from providers.exchange import HttpRequest
from providers.google_stt import GOOGLE_STT, GoogleSttOptions
from providers.provider import unread_options
from providers.types import Account, Deployment, Task, Timestamps, TranscriptionJob
from tests.conftest import sample_audio

BASE = "https://eu-speech.googleapis.com/v2/projects/p/locations/eu"


def to(native_model: str, **options: str) -> Deployment:
    there = Account(
        name="a", adapter="google-stt", base_urls={"api": BASE}, api_key=SecretStr("ya29.x"), options=options
    )
    return Deployment(account=there, native_model=native_model)


def job(**wanted: Any) -> TranscriptionJob:
    return TranscriptionJob(model="m", audio=sample_audio("sb_spk2_snt1.flac"), **wanted)


def config(native_model: str, **wanted: Any) -> dict[str, Any]:
    request = next(GOOGLE_STT.transcribe(job(**wanted), to(native_model)))
    assert isinstance(request, HttpRequest)
    assert request.url == f"{BASE}/recognizers/_:recognize"
    told: dict[str, Any] = json.loads(b"".join(piece for piece in request.body if isinstance(piece, bytes)))
    return dict(told["config"])


def test_everything_asked_for_is_sent() -> None:
    options = GoogleSttOptions(phrases=["gnocchi"], boost=10.0, profanity_filter=True, denoise_audio=True)
    asked = config(
        "chirp_2",
        task=Task.TRANSLATE,
        language="fr",
        prompt="Zoë, Dashwood",
        timestamps=Timestamps.WORD,
        provider_options={"google-stt": options},
    )

    phrases = [{"value": each, "boost": 10.0} for each in ("Zoë", "Dashwood", "gnocchi")]
    assert asked == {
        "autoDecodingConfig": {},
        "model": "chirp_2",
        "languageCodes": ["fr-FR"],
        "features": {
            "enableAutomaticPunctuation": True,
            "enableWordTimeOffsets": True,
            "enableWordConfidence": True,
            "profanityFilter": True,
        },
        "adaptation": {"phraseSets": [{"inlinePhraseSet": {"phrases": phrases}}]},
        "translationConfig": {"targetLanguage": "en-US"},
        "denoiserConfig": {"denoiseAudio": True},
    }


def test_nothing_asked_for_is_the_text_of_any_language() -> None:
    assert config("chirp_3", timestamps=Timestamps.SEGMENT) == {
        "autoDecodingConfig": {},
        "model": "chirp_3",
        "languageCodes": ["auto"],
        "features": {"enableAutomaticPunctuation": True},
    }


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("en", "en-US"),
        ("en-gb", "en-GB"),
        ("zh", "cmn-Hans-CN"),
        ("zh-TW", "zh-TW"),
        ("he", "iw-IL"),
        ("tl", "fil-PH"),
        ("xx", "xx"),
    ],
)
def test_languages_have_the_names_they_have_there(language: str, code: str) -> None:
    assert config("long", language=language)["languageCodes"] == [code]


def test_a_model_that_detects_no_language_wants_one() -> None:
    among = GoogleSttOptions(language_codes=["en-US", "de-DE"])

    assert config("short", provider_options={"google-stt": among})["languageCodes"] == ["en-US", "de-DE"]
    with pytest.raises(JobUnsupported, match="name it"):
        config("short")


def test_an_account_may_name_the_usual_language() -> None:
    request = next(GOOGLE_STT.transcribe(job(), to("short", language="de-DE")))

    assert isinstance(request, HttpRequest)
    assert b'"languageCodes": ["de-DE"]' in b"".join(piece for piece in request.body if isinstance(piece, bytes))


@pytest.mark.parametrize(
    ("options", "least", "most"),
    [
        (GoogleSttOptions(), 1, 6),
        (GoogleSttOptions(max_speaker_count=2), 1, 2),
        (GoogleSttOptions(min_speaker_count=4, max_speaker_count=2), 4, 4),
    ],
)
def test_speakers_are_counted_within_bounds(options: GoogleSttOptions, least: int, most: int) -> None:
    asked = config("long", language="en", diarize=True, provider_options={"google-stt": options})

    assert asked["features"]["diarizationConfig"] == {"minSpeakerCount": least, "maxSpeakerCount": most}
    assert asked["features"]["enableWordTimeOffsets"]


def test_what_a_model_does_not_read_is_named() -> None:
    wanted = job(provider_options={"google-stt": GoogleSttOptions(denoise_audio=True, max_speaker_count=2)})

    assert unread_options(wanted, "google-stt", GOOGLE_STT.capabilities(to("long"))) == [
        "denoise_audio",
        "max_speaker_count",
    ]
    assert GOOGLE_STT.capabilities(to("unheard_of")) == GOOGLE_STT.capabilities(to("short"))


def test_another_project_may_pay() -> None:
    for options, payer in (({"quota_project": "payer"}, "payer"), ({}, None)):
        request = next(GOOGLE_STT.transcribe(job(), to("chirp_2", **options)))
        assert isinstance(request, HttpRequest)
        assert request.headers.get("x-goog-user-project") == payer
