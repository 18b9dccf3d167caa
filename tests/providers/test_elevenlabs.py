"""What is peculiar to ElevenLabs: blanks among the words, long language codes, quotas behind a 401, deletion."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from providers.elevenlabs import ELEVENLABS, ElevenlabsOptions, build_request
from providers.exchange import Afterwards
from providers.provider import unread_options
from providers.types import GenerationParameters, Timestamps, Transcript, TranscriptionJob
from tests.conftest import sample_audio
from tests.driving import answer, at, steps_of, text_parts

API = "https://api.elevenlabs.io/v1/speech-to-text"
PLAIN = {"model_id": ["scribe_v2"], "timestamps_granularity": ["none"], "tag_audio_events": ["false"]}


def job(**wanted: Any) -> TranscriptionJob:
    return TranscriptionJob(model="m", audio=sample_audio("slushy.mp3"), **wanted)


def form(model: str = "scribe_v2", **wanted: Any) -> dict[str, list[str]]:
    return text_parts(build_request(job(**wanted), at("elevenlabs", model)))


def options(**given: Any) -> dict[str, ElevenlabsOptions]:
    return {"elevenlabs": ElevenlabsOptions(**given)}


def item(text: str, start: float | None, end: float | None, kind: str = "word", **more: Any) -> dict[str, Any]:
    return {"text": text, "start": start, "end": end, "type": kind, **more}


def heard(
    items: list[dict[str, Any]], text: str, /, *, said: dict[str, Any] | None = None, **wanted: Any
) -> Transcript:
    reply = answer(text=text, words=items, language_code="eng", **(said or {}))
    _, transcript = steps_of(ELEVENLABS.transcribe(job(**wanted), at("elevenlabs", "scribe_v2")), reply)
    assert isinstance(transcript, Transcript)
    return transcript


def test_times_are_asked_for_where_they_are_wanted() -> None:
    assert form() == PLAIN
    timed = {**PLAIN, "timestamps_granularity": ["word"]}
    assert form(timestamps=Timestamps.SEGMENT) == form(timestamps=Timestamps.WORD) == timed
    assert form(diarize=True) == {**timed, "diarize": ["true"]}


def test_language_and_temperature() -> None:
    hot = GenerationParameters(temperature=7.0)

    assert form(language="German", generation=hot) == {**PLAIN, "language_code": ["de"], "temperature": ["2.0"]}
    assert form(language="tlh")["language_code"] == ["tlh"]


def test_options_are_parts_and_one_is_of_the_query() -> None:
    given = options(keyterms=["slushy", "draughty roads"], tag_audio_events=True, seed=7, enable_logging=False)

    assert form(provider_options=given) == {
        **PLAIN,
        "tag_audio_events": ["true"],
        "keyterms": ["slushy", "draughty roads"],
        "seed": ["7"],
    }
    to = at("elevenlabs", "scribe_v2")
    assert build_request(job(provider_options=given), to).url == f"{API}?enable_logging=false"
    assert build_request(job(), to).url == API


@pytest.mark.parametrize(
    ("model", "unread"),
    [
        ("scribe_v3", []),
        ("scribe_v2", ["numbers_format"]),
        ("scribe_v9", ["numbers_format"]),
        ("scribe_v1", ["keyterms", "no_verbatim", "numbers_format"]),
    ],
)
def test_each_generation_reads_more(model: str, unread: list[str]) -> None:
    given = options(keyterms=["slushy"], no_verbatim=True, numbers_format="digits")

    can = ELEVENLABS.capabilities(at("elevenlabs", model))
    assert unread_options(job(provider_options=given), "elevenlabs", can) == unread


@pytest.mark.parametrize(
    "given",
    [
        {"keyterms": []},
        {"keyterms": ["a" * 51]},
        {"keyterms": ["<b>"]},
        {"num_speakers": 33},
        {"num_speakers": 2, "diarization_threshold": 0.2},
        {"seed": -1},
        {"webhook": True},
    ],
)
def test_options_have_limits(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ElevenlabsOptions(**given)


def test_blanks_and_laughter_are_no_words() -> None:
    items = [
        item("Good", 0.1, 0.4, logprob=-0.5),
        item(" ", 0.4, 0.5, "spacing"),
        item("(laughs)", 0.5, 0.9, "audio_event"),
        item("morning.", 0.9, 1.3, logprob=3000.0),
        item("untimed", None, None),
    ]
    transcript = heard(items, "Good (laughs) morning.", timestamps=Timestamps.WORD)

    assert [each.text for each in transcript.words] == ["Good", "morning."]
    assert [each.confidence for each in transcript.words] == [pytest.approx(0.6065, abs=0.001), 1.0]
    assert [(each.text, each.start_s, each.end_s) for each in transcript.segments] == [
        ("Good (laughs) morning.", 0.1, 1.3)
    ]
    assert transcript.language == "en"


def test_a_change_of_speaker_cuts() -> None:
    items = [item("Hi", 0.1, 0.4, speaker_id="speaker_0"), item("Oh", 0.4, 0.8, speaker_id="speaker_1")]

    segments = heard(items, "Hi Oh", diarize=True).segments
    assert [(each.text, each.speaker) for each in segments] == [("Hi", "speaker_0"), ("Oh", "speaker_1")]


@pytest.mark.parametrize(("name", "deleted"), [("SvzqTrN7fuP7Z5dEOdLj", True), ("../../user", False), ("", False)])
def test_what_is_kept_is_deleted_if_its_name_can_stand_in_an_address(name: str, *, deleted: bool) -> None:
    reply = answer(text="hi", words=[], transcription_id=name)
    steps, _ = steps_of(ELEVENLABS.transcribe(job(), at("elevenlabs", "scribe_v2")), reply)

    later = [each.request for each in steps if isinstance(each, Afterwards)]
    assert [(each.method, each.url) for each in later] == ([("DELETE", f"{API}/transcripts/{name}")] if deleted else [])
