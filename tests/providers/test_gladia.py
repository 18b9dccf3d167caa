"""What is peculiar to Gladia: switches beside their settings, failures that are numbers, translations with words."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from providers.errors import CredentialsRejected, JobUnsupported, ProviderUnavailable, QuotaExhausted
from providers.exchange import Afterwards
from providers.gladia import GLADIA, GladiaOptions, build_fields, classify_error
from providers.provider import unread_options
from providers.types import Task, Timestamps, Transcript, TranscriptionJob
from tests.conftest import sample_audio
from tests.driving import answer, asked, at, document, requests, steps_of

API = "https://api.gladia.io/v2"
UPLOADED = answer(audio_url="https://api.gladia.io/file/f1")
MADE = answer(201, id="j1", result_url="https://elsewhere.example/v2/pre-recorded/j1")


def job(**wanted: Any) -> TranscriptionJob:
    return TranscriptionJob(model="m", audio=sample_audio("slushy.mp3"), **wanted)


def fields(**wanted: Any) -> dict[str, object]:
    return build_fields(job(**wanted), at("gladia", "solaria-1"))


def options(**given: Any) -> dict[str, GladiaOptions]:
    return {"gladia": GladiaOptions(**given)}


def said(text: str, **utterance: Any) -> dict[str, Any]:
    words = [{"word": f" {text}", "start": 0.5, "end": 0.9, "confidence": 0.75}]
    return {
        "full_transcript": text,
        "languages": ["de"],
        "utterances": [{"text": f" {text}", "start": 0.5, "end": 1.0, "words": words, **utterance}],
    }


def heard(result: dict[str, Any], **wanted: Any) -> Transcript:
    done = answer(id="j1", status="done", result=result)
    _, transcript = steps_of(GLADIA.transcribe(job(**wanted), at("gladia", "solaria-1")), UPLOADED, MADE, done)
    assert isinstance(transcript, Transcript)
    return transcript


def test_a_job_is_asked_after_at_our_own_address_whatever_it_names() -> None:
    done = answer(id="j1", status="done", result={"transcription": said("Hallo.")})
    steps, _ = steps_of(GLADIA.transcribe(job(), at("gladia", "solaria-1")), UPLOADED, MADE, done)

    assert asked(steps) == [
        ("POST", f"{API}/upload"),
        ("POST", f"{API}/pre-recorded"),
        ("GET", f"{API}/pre-recorded/j1"),
    ]
    upload, create, _ = requests(steps)
    assert isinstance(upload.body[0], bytes)
    assert b'name="audio"; filename="audio.mp3"' in upload.body[0]
    assert document(create) == {"audio_url": "https://api.gladia.io/file/f1", "model": "solaria-1"}
    assert [each.request.url for each in steps if isinstance(each, Afterwards)] == [f"{API}/pre-recorded/j1"]


# --- what is sent


def test_one_language_is_named_and_several_are_to_choose_from() -> None:
    among = options(languages=["de", "fr"], code_switching=True)

    assert fields() == {"model": "solaria-1"}
    assert fields(language="pt-BR")["language_config"] == {"languages": ["pt"]}
    assert fields(language="xx")["language_config"] == {"languages": ["xx"]}
    assert fields(provider_options=among)["language_config"] == {"languages": ["de", "fr"], "code_switching": True}
    assert fields(provider_options=among, language="de")["language_config"] == {"languages": ["de"]}


def test_a_setting_goes_with_its_switch() -> None:
    given = options(custom_vocabulary=["Zoë"], min_speakers=2, punctuation_enhanced=True)

    assert fields(provider_options=given, diarize=True, task=Task.TRANSLATE) == {
        "model": "solaria-1",
        "diarization": True,
        "diarization_config": {"min_speakers": 2},
        "custom_vocabulary": True,
        "custom_vocabulary_config": {"vocabulary": ["Zoë"]},
        "translation": True,
        "translation_config": {"target_languages": ["en"], "match_original_utterances": True},
        "punctuation_enhanced": True,
    }
    assert unread_options(job(provider_options=given), "gladia", GLADIA.capabilities(at("gladia", "x"))) == [
        "min_speakers"
    ]


@pytest.mark.parametrize("given", [{"callback_url": "http://x"}, {"min_speakers": 0}, {"languages": ["German"]}])
def test_options_have_limits_and_no_addresses(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GladiaOptions(**given)


# --- what comes back


def test_speakers_are_numbers_there_and_names_here() -> None:
    result = {"transcription": said("Hallo.", speaker=0)}
    told = heard(result, diarize=True, timestamps=Timestamps.WORD)
    untold = heard(result, timestamps=Timestamps.SEGMENT)

    assert [(each.text, each.speaker) for each in told.segments] == [("Hallo.", "0")]
    assert [(each.text, each.speaker, each.confidence) for each in told.words] == [("Hallo.", "0", 0.75)]
    assert ([each.speaker for each in untold.segments], untold.words, untold.language) == ([None], (), "de")
    assert heard(result) == Transcript(text="Hallo.", language="de", request_id="j1")


def test_a_translation_has_times_of_its_own() -> None:
    translation = {"success": True, "results": [said("Hello.")]}
    got = heard(
        {"transcription": said("Hallo."), "translation": translation}, task=Task.TRANSLATE, timestamps=Timestamps.WORD
    )

    assert (got.text, got.language) == ("Hello.", "de")
    assert ([each.text for each in got.segments], [each.text for each in got.words]) == (["Hello."], ["Hello."])


@pytest.mark.parametrize("translation", [None, {"results": None}, {"results": []}])
def test_what_was_not_translated_is_another_providers(translation: Any) -> None:
    with pytest.raises(JobUnsupported, match="translate"):
        heard({"transcription": said("Hallo."), "translation": translation}, task=Task.TRANSLATE)


@pytest.mark.parametrize(
    ("code", "error"),
    [(400, JobUnsupported), (None, JobUnsupported), (500, ProviderUnavailable), (429, ProviderUnavailable)],
)
def test_a_failed_job_says_no_more_than_a_number(code: int | None, error: type[Exception]) -> None:
    failed = answer(id="j1", status="error", error_code=code, result=None)
    with pytest.raises(error):
        steps_of(GLADIA.transcribe(job(), at("gladia", "solaria-1")), UPLOADED, MADE, failed)


def test_a_403_may_be_about_the_plan() -> None:
    assert isinstance(classify_error(answer(403, message="Your plan allows 10 hours")), QuotaExhausted)
    assert isinstance(classify_error(answer(403, message="Forbidden")), CredentialsRejected)
