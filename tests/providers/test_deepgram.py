"""What is peculiar to Deepgram: everything in the query, detection unless a language is named, its own time limit."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from providers.deepgram import DEEPGRAM, DeepgramOptions, build_request
from providers.provider import unread_options
from providers.types import Timestamps, TranscriptionJob
from tests.conftest import sample_audio
from tests.driving import at

PLAIN = {"model": ["nova-3"], "smart_format": ["true"], "detect_language": ["true"]}


def job(**wanted: Any) -> TranscriptionJob:
    return TranscriptionJob(model="m", audio=sample_audio("slushy.mp3"), **wanted)


def query(model: str = "nova-3", **wanted: Any) -> dict[str, list[str]]:
    return parse_qs(urlsplit(build_request(job(**wanted), at("deepgram", model)).url).query)


def options(**given: Any) -> dict[str, DeepgramOptions]:
    return {"deepgram": DeepgramOptions(**given)}


def test_the_body_is_the_upload_as_it_came() -> None:
    wanted = job()
    request = build_request(wanted, at("deepgram", "nova-3"))

    assert request.url.startswith("https://api.deepgram.com/v1/listen?")
    assert (request.body, request.headers) == ((wanted.audio.content,), {"content-type": "audio/mpeg"})


def test_utterances_are_asked_for_where_segments_are_wanted() -> None:
    assert query() == PLAIN
    for times in (Timestamps.SEGMENT, Timestamps.WORD):
        assert query(timestamps=times) == {**PLAIN, "utterances": ["true"]}
    assert query(diarize=True) == {**PLAIN, "utterances": ["true"], "diarize_model": ["latest"]}


@pytest.mark.parametrize(
    ("asked", "sent"), [("de", "de"), ("en-GB", "en-GB"), ("German", "de"), ("multi", "multi"), ("cy", "cy")]
)
def test_a_language_is_named_instead_of_detected(asked: str, sent: str) -> None:
    assert query(language=asked) == {"model": ["nova-3"], "smart_format": ["true"], "language": [sent]}


def test_the_medical_model_hears_english_only() -> None:
    assert query("nova-3-medical") == {"model": ["nova-3-medical"], "smart_format": ["true"], "language": ["en"]}


def test_options_are_repeated_and_stand_before_our_own() -> None:
    given = options(keyterm=["slushy", "draughty roads"], smart_format=False, mip_opt_out=True, utt_split=1.5)

    assert query(provider_options=given) == {
        **PLAIN,
        "smart_format": ["false"],
        "keyterm": ["slushy", "draughty roads"],
        "mip_opt_out": ["true"],
        "utt_split": ["1.5"],
    }


@pytest.mark.parametrize(
    ("model", "read"),
    [("nova-3", "keyterm"), ("nova-3-general", "keyterm"), ("nova-2", "keywords"), ("base", "keywords")],
)
def test_each_generation_has_its_own_word_for_terms(model: str, read: str) -> None:
    both = options(keyterm=["slushy"], keywords=["slushy:2"])

    assert {"keyterm", "keywords"} & query(model, provider_options=both).keys() == {read}
    unread = unread_options(job(provider_options=both), "deepgram", DEEPGRAM.capabilities(at("deepgram", model)))
    assert unread == sorted({"keyterm", "keywords"} - {read})


def test_who_speaks_is_told_by_the_model_the_caller_names() -> None:
    assert "diarize_model" not in query(provider_options=options(diarize_model="v1"))
    assert query(diarize=True, provider_options=options(diarize_model="v1"))["diarize_model"] == ["v1"]


@pytest.mark.parametrize("given", [{"utt_split": 0.0}, {"keyterm": []}, {"diarize_model": "x&y"}, {"callback": "x"}])
def test_options_have_limits(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DeepgramOptions(**given)
