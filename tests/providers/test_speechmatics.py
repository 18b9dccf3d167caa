"""What is peculiar to Speechmatics: no text but what is made of items, and jobs that can be stopped."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from providers.errors import JobUnsupported, ProviderUnavailable
from providers.exchange import Afterwards, IfAbandoned
from providers.provider import unread_options
from providers.speechmatics import SPEECHMATICS, SpeechmaticsOptions, build_config
from providers.types import Task, Timestamps, Transcript, TranscriptionJob
from tests.conftest import sample_audio
from tests.driving import answer, asked, at, requests, steps_of

API = "https://eu1.asr.api.speechmatics.com/v2"
MADE, DONE = answer(201, id="j1"), answer(job={"status": "done"})


def job(**wanted: Any) -> TranscriptionJob:
    return TranscriptionJob(model="m", audio=sample_audio("slushy.mp3"), **wanted)


def config(native_model: str = "enhanced", **wanted: Any) -> dict[str, Any]:
    return build_config(job(**wanted), at("speechmatics", native_model))


def options(**given: Any) -> dict[str, SpeechmaticsOptions]:
    return {"speechmatics": SpeechmaticsOptions(**given)}


def item(content: str, start: float, end: float, attaches_to: str | None = None, **said: Any) -> dict[str, Any]:
    kind = "punctuation" if attaches_to else "word"
    times = {"start_time": start, "end_time": end}
    return {"type": kind, **times, "attaches_to": attaches_to, "alternatives": [{"content": content, **said}]}


def heard(results: list[dict[str, Any]], wanted: dict[str, Any] | None = None, **told: Any) -> Transcript:
    transcript = answer(job={"id": "j1"}, results=results, **told)
    exchange = SPEECHMATICS.transcribe(job(**(wanted or {})), at("speechmatics", "enhanced"))
    _, got = steps_of(exchange, MADE, DONE, transcript)
    assert isinstance(got, Transcript)
    return got


def test_the_audio_goes_with_the_job_which_can_be_stopped_while_it_runs() -> None:
    exchange = SPEECHMATICS.transcribe(job(), at("speechmatics", "enhanced"))
    steps, _ = steps_of(exchange, MADE, DONE, answer(job={"id": "j1"}, results=[]))

    assert asked(steps) == [
        ("POST", f"{API}/jobs"),
        ("GET", f"{API}/jobs/j1"),
        ("GET", f"{API}/jobs/j1/transcript?format=json-v2"),
    ]
    head = requests(steps)[0].body[0]
    assert isinstance(head, bytes)
    assert b'name="config"' in head
    assert b'name="data_file"; filename="audio.mp3"' in head
    assert [each.request.url for each in steps if isinstance(each, IfAbandoned)] == [f"{API}/jobs/j1?force=true"]
    assert [each.request.url for each in steps if isinstance(each, Afterwards)] == [f"{API}/jobs/j1"]


# --- what is sent


@pytest.mark.parametrize(
    ("native_model", "language", "sent"),
    [
        ("enhanced", None, "auto"),
        ("melia-1", None, "multi"),
        ("enhanced", "en-GB", "en"),
        ("enhanced", "zh", "cmn"),
        ("enhanced", "cmn", "cmn"),
        ("melia-1", "xx", "xx"),
    ],
)
def test_a_language_is_never_left_out(native_model: str, language: str | None, sent: str) -> None:
    assert config(native_model, language=language) == {
        "type": "transcription",
        "transcription_config": {"language": sent, "model": native_model},
    }


def test_options_find_their_places() -> None:
    given = options(
        additional_vocab=["Zoë"],
        punctuation_sensitivity=0.2,
        remove_disfluencies=True,
        volume_threshold=3.5,
        speaker_sensitivity=0.7,
        prefer_current_speaker=True,
        output_locale="en-GB",
        expected_languages=["en", "de"],
    )

    sent = config(diarize=True, provider_options=given)
    assert sent["transcription_config"] == {
        "language": "auto",
        "model": "enhanced",
        "diarization": "speaker",
        "additional_vocab": [{"content": "Zoë"}],
        "punctuation_overrides": {"sensitivity": 0.2},
        "transcript_filtering_config": {"remove_disfluencies": True},
        "audio_filtering_config": {"volume_threshold": 3.5},
        "speaker_diarization_config": {"speaker_sensitivity": 0.7, "prefer_current_speaker": True},
        "output_locale": "en-GB",
    }
    assert sent["language_identification_config"] == {"expected_languages": ["en", "de"]}
    assert "language_identification_config" not in config(language="en", provider_options=given)
    can = SPEECHMATICS.capabilities(at("speechmatics", "melia-1"))
    assert {"additional_vocab", "output_locale"} <= set(
        unread_options(job(provider_options=given), "speechmatics", can)
    )


def test_only_what_is_not_english_is_translated() -> None:
    assert config(task=Task.TRANSLATE)["translation_config"] == {"target_languages": ["en"]}
    assert "translation_config" not in config(task=Task.TRANSLATE, language="en-US")


@pytest.mark.parametrize(
    "given", [{"additional_vocab": []}, {"output_locale": "x"}, {"fetch_data": {"url": "http://x"}}]
)
def test_options_have_limits_and_no_addresses(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SpeechmaticsOptions(**given)


# --- what comes back


def test_punctuation_stands_where_it_attaches() -> None:
    got = heard(
        [
            item("¿", 0.0, 0.0, "next"),
            item("Qué", 0.1, 0.3, language="es", confidence=0.75),
            item("?", 0.3, 0.3, "previous"),
            item("bien", 0.4, 0.6),
            item("-", 0.6, 0.6, "both"),
            item("estar", 0.6, 0.9),
            item("+", 1.0, 1.0, "none"),
            {"type": "word", "start_time": 1.0, "end_time": 1.1, "alternatives": []},
        ],
        {"timestamps": Timestamps.WORD},
    )

    assert (got.text, got.language) == ("¿Qué? bien-estar +", "es")
    assert [(each.text, each.start_s, each.end_s) for each in got.words] == [
        ("¿Qué?", 0.0, 0.3),
        ("bien-estar", 0.4, 0.9),
        ("+", 1.0, 1.0),
    ]
    assert [each.text for each in got.segments] == ["¿Qué?", "bien-estar +"]


def test_some_languages_have_nothing_between_words() -> None:
    pack = {"word_delimiter": " ", "per_language_word_delimiters": {"cmn": ""}}
    spoken = [item("你", 0, 1, language="cmn"), item("好", 1, 2, language="cmn"), item("yes", 2, 3, language="en")]
    got = heard(spoken, metadata={"language_pack_info": pack})

    assert (got.text, got.language) == ("你好 yes", "zh")
    assert heard(spoken[:2], metadata={"language_pack_info": {"word_delimiter": ""}}).text == "你好"


def test_a_language_that_was_named_is_told_where_no_word_tells() -> None:
    assert heard([item("Hi", 0, 1)], metadata={"transcription_config": {"language": "en"}}).language == "en"
    assert heard([item("Hi", 0, 1)], metadata={"transcription_config": {"language": "auto"}}).language is None


def test_nobody_is_no_speaker() -> None:
    results = [item("Hi.", 0, 1, speaker="S1"), item("Oh.", 1, 2, speaker="UU")]
    told, untold = heard(results, {"diarize": True}), heard(results, {"timestamps": Timestamps.SEGMENT})

    assert [(each.text, each.speaker) for each in told.segments] == [("Hi.", "S1"), ("Oh.", None)]
    assert [each.speaker for each in untold.segments] == [None, None]
    assert (heard(results).segments, heard(results).words, told.words) == ((), (), ())


def test_a_translation_is_made_of_sentences() -> None:
    wanted: dict[str, Any] = {"task": Task.TRANSLATE, "timestamps": Timestamps.SEGMENT}
    german = [item("Guten", 0, 1, language="de"), item("Tag", 1, 2, language="de")]
    translations = {"en": [{"content": "Good day.", "start_time": 0.0, "end_time": 2.0, "speaker": "UU"}]}
    got = heard(german, wanted, translations=translations)

    assert (got.text, got.language, got.words) == ("Good day.", "de", ())
    assert [(each.text, each.start_s, each.end_s, each.speaker) for each in got.segments] == [
        ("Good day.", 0.0, 2.0, None)
    ]
    with pytest.raises(JobUnsupported, match="translate"):
        heard(german, wanted)


def test_what_turns_out_to_be_english_or_nothing_needs_no_translation() -> None:
    wanted: dict[str, Any] = {"task": Task.TRANSLATE}

    assert heard([item("Hello", 0, 1, language="en")], wanted).text == "Hello"
    assert heard([], wanted).text == ""


def test_words_of_a_translation_are_refused_before_anything_is_sent() -> None:
    wanted = job(task=Task.TRANSLATE, timestamps=Timestamps.WORD)
    with pytest.raises(JobUnsupported, match="words of a translation"):
        next(SPEECHMATICS.transcribe(wanted, at("speechmatics", "enhanced")))


@pytest.mark.parametrize(
    ("status", "error"),
    [("rejected", JobUnsupported), ("deleted", ProviderUnavailable), ("expired", ProviderUnavailable)],
)
def test_a_job_may_end_badly_behind_a_200(status: str, error: type[Exception]) -> None:
    exchange = SPEECHMATICS.transcribe(job(), at("speechmatics", "enhanced"))
    with pytest.raises(error):
        steps_of(exchange, MADE, answer(job={"status": status, "errors": [{"message": "secret.wav is broken"}]}))


def test_the_configuration_is_json_in_a_part() -> None:
    head = requests(steps_of(SPEECHMATICS.transcribe(job(), at("speechmatics", "standard")))[0])[0].body[0]
    assert isinstance(head, bytes)
    part = head.split(b"\r\n\r\n")[1].partition(b"\r\n")[0]

    assert json.loads(part)["transcription_config"] == {"language": "auto", "model": "standard"}
