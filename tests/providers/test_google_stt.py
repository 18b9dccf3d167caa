"""What is peculiar to Google's Speech-to-Text: languages with regions, a project in the address, tokens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace
from pydantic import SecretStr

from providers.audio.content import MemoryContent
from providers.errors import CredentialsRejected, JobUnsupported, MalformedReply, ProviderUnavailable
from providers.exchange import TRANSIENT, Afterwards, HttpReply, HttpRequest, IfAbandoned, Over, Wait
from providers.google_stt import GOOGLE_STT, GoogleSttOptions
from providers.provider import unread_options
from providers.types import Account, Deployment, Task, Timestamps, TranscriptionJob
from tests.conftest import sample_audio
from tests.driving import answer, document, requests, steps_of

BASE = "https://eu-speech.googleapis.com/v2/projects/p/locations/eu"
STORAGE = "https://storage.googleapis.com"


def to(native_model: str, **options: str) -> Deployment:
    urls = {"api": BASE, "storage": STORAGE}
    there = Account(name="a", adapter="google-stt", base_urls=urls, api_key=SecretStr("ya29.x"), options=options)
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


BUCKET = {"bucket": "my/audio"}
NAME = "projects/p/locations/eu/operations/7"


def of_length(duration_s: float | None, size_bytes: int = 9) -> TranscriptionJob:
    audio = replace(sample_audio("sb_spk2_snt1.flac"), duration_s=duration_s, content=MemoryContent(bytes(size_bytes)))
    return TranscriptionJob(model="m", audio=audio)


@pytest.mark.parametrize(
    ("job", "options", "first"),
    [
        (of_length(60.0), BUCKET, HttpRequest),
        (of_length(60.1), BUCKET, IfAbandoned),
        (of_length(None), BUCKET, IfAbandoned),
        (of_length(9.0, 7_500_001), BUCKET, IfAbandoned),
        (of_length(600.0), {}, HttpRequest),  # planning has made parts of it
    ],
)
def test_only_what_one_call_does_not_take_goes_into_the_bucket(
    job: TranscriptionJob, options: dict[str, str], first: type[object]
) -> None:
    assert isinstance(next(GOOGLE_STT.transcribe(job, to("chirp_2", **options))), first)


def test_a_bucket_takes_hours() -> None:
    without, by_bucket = (GOOGLE_STT.capabilities(to("chirp_2", **options)) for options in ({}, BUCKET))

    assert (without.max_duration_s, by_bucket.max_duration_s, by_bucket.max_bytes) == (60.0, 28_800.0, None)


def by_bucket(done: HttpReply) -> tuple[list[Any], Any]:
    return steps_of(
        GOOGLE_STT.transcribe(of_length(90.0), to("chirp_2", quota_project="payer", **BUCKET)),
        answer(name="asr-gateway-1"),
        answer(name=NAME),
        answer(name=NAME, done=False),
        done,
    )


def test_what_is_made_is_deleted_in_the_order_in_which_it_can_be() -> None:
    file = {"inlineResult": {"transcript": {"results": [{"alternatives": [{"transcript": "Hi."}]}]}}}
    steps, heard = by_bucket(answer(name=NAME, done=True, response={"results": {"gs://x": file}}))

    assert heard.text == "Hi."
    stored, started, *read = requests(steps)
    assert stored.url.startswith(f"{STORAGE}/upload/storage/v1/b/my%2Faudio/o?uploadType=media&name=asr-gateway-")
    name = stored.url.rpartition("=")[2]
    assert (started.url, started.bills, started.once) == (f"{BASE}/recognizers/_:batchRecognize", True, True)
    assert document(started)["files"] == [{"uri": f"gs://my/audio/{name}"}]
    assert [each.url for each in read] == [f"{BASE}/operations/7"] * 2
    assert {each.headers.get("x-goog-user-project") for each in requests(steps)} == {"payer"}
    told = [each for each in steps if not isinstance(each, HttpRequest | Wait)]
    assert [type(each) for each in told] == [IfAbandoned, Over, Afterwards, IfAbandoned, Afterwards, Over]
    assert [each.request.url for each in told if not isinstance(each, Over)] == [
        f"{STORAGE}/storage/v1/b/my%2Faudio/o/{name}",
        f"{STORAGE}/storage/v1/b/my%2Faudio/o/{name}",
        f"{BASE}/operations/7:cancel",
        f"{BASE}/operations/7",
    ]
    assert [each.not_yet for each in told if isinstance(each, Afterwards)] == [TRANSIENT, TRANSIENT | {400, 409}]


@pytest.mark.parametrize(
    ("done", "error"),
    [
        ({"error": {"code": 7}}, CredentialsRejected),
        ({"error": {"code": 14}}, ProviderUnavailable),
        ({"error": {"code": 99}}, ProviderUnavailable),
        ({"response": {"results": {"gs://x": {"error": {"code": 3}}}}}, JobUnsupported),
        ({"response": {"results": {"gs://x": {}}}}, MalformedReply),
        ({"response": {"results": {"gs://x": {"inlineResult": {"transcript": {"results": 7}}}}}}, MalformedReply),
        ({}, MalformedReply),
    ],
)
def test_an_operation_that_failed_says_why(done: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        by_bucket(answer(name=NAME, done=True, **done))


def test_silence_is_an_empty_text() -> None:
    file = {"inlineResult": {"transcript": {}}, "metadata": {"requestId": "r1"}}
    _, heard = by_bucket(answer(name=NAME, done=True, response={"results": {"gs://x": file}}))

    assert (heard.text, heard.request_id) == ("", "r1")
