"""What is peculiar to Rev AI: elements instead of words, English for whoever names no language, people to keep out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from providers.errors import JobUnsupported, ProviderUnavailable, QuotaExhausted
from providers.exchange import Afterwards
from providers.provider import unread_options
from providers.revai import REVAI, RevaiOptions, build_options
from providers.types import Timestamps, Transcript, TranscriptionJob
from tests.conftest import sample_audio
from tests.driving import answer, asked, at, requests, steps_of

API = "https://api.rev.ai/speechtotext/v1"
MADE = answer(id="j1", status="in_progress")
DONE = answer(id="j1", status="transcribed", duration_seconds=2.5, language="cmn")


def job(**wanted: Any) -> TranscriptionJob:
    return TranscriptionJob(model="m", audio=sample_audio("slushy.mp3"), **wanted)


def sent(**wanted: Any) -> dict[str, object]:
    return build_options(job(**wanted), at("revai", "machine"))


def options(**given: Any) -> dict[str, RevaiOptions]:
    return {"revai": RevaiOptions(**given)}


def text(value: str, ts: float | None = None, end_ts: float | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "text", "value": value, "ts": ts, "end_ts": end_ts, **more}


def punct(value: str) -> dict[str, Any]:
    return {"type": "punct", "value": value}


def heard(*monologues: list[dict[str, Any]], **wanted: Any) -> Transcript:
    said = [{"speaker": number, "elements": elements} for number, elements in enumerate(monologues)]
    _, got = steps_of(REVAI.transcribe(job(**wanted), at("revai", "machine")), MADE, DONE, answer(monologues=said))
    assert isinstance(got, Transcript)
    return got


def test_the_audio_goes_with_the_job_and_the_transcript_is_asked_for_by_its_type() -> None:
    steps, got = steps_of(REVAI.transcribe(job(), at("revai", "low_cost")), MADE, DONE, answer(monologues=[]))

    assert asked(steps) == [("POST", f"{API}/jobs"), ("GET", f"{API}/jobs/j1"), ("GET", f"{API}/jobs/j1/transcript")]
    start, _, fetch = requests(steps)
    assert isinstance(start.body[0], bytes)
    assert b'name="options"' in start.body[0]
    assert b'name="media"; filename="audio.mp3"' in start.body[0]
    assert fetch.headers == {"accept": "application/vnd.rev.transcript.v1.0+json"}
    assert [each.request.url for each in steps if isinstance(each, Afterwards)] == [f"{API}/jobs/j1"]
    assert (got.text, got.duration_s, got.language, got.request_id) == ("", 2.5, "zh", "j1")


@pytest.mark.parametrize("native_model", ["human", "machine_v2", ""])
def test_people_are_never_asked(native_model: str) -> None:
    """They take hours, and are paid by the minute."""
    with pytest.raises(JobUnsupported, match="machine, low_cost, fusion"):
        next(REVAI.transcribe(job(), at("revai", native_model)))


# --- what is sent


def test_speakers_are_told_apart_only_where_they_are_asked_for() -> None:
    given = options(speakers_count=2, diarization_type="premium", custom_vocabulary=["Zoë"], remove_disfluencies=True)

    assert sent() == {"transcriber": "machine", "skip_diarization": True, "delete_after_seconds": 3600}
    assert sent(diarize=True, language="zh", provider_options=given) == {
        "transcriber": "machine",
        "language": "cmn",
        "skip_diarization": False,
        "custom_vocabularies": [{"phrases": ["Zoë"]}],
        "speakers_count": 2,
        "diarization_type": "premium",
        "remove_disfluencies": True,
        "delete_after_seconds": 3600,
    }
    assert unread_options(job(provider_options=given), "revai", REVAI.capabilities(at("revai", "machine"))) == [
        "diarization_type",
        "speakers_count",
    ]


@pytest.mark.parametrize(("language", "code"), [("pt-BR", "pt"), ("xx", "xx"), ("cmn", "cmn")])
def test_a_language_goes_by_its_code(language: str, code: str) -> None:
    assert sent(language=language)["language"] == code


def test_the_options_are_json_in_a_part() -> None:
    head = requests(steps_of(REVAI.transcribe(job(), at("revai", "fusion")))[0])[0].body[0]
    assert isinstance(head, bytes)

    assert json.loads(head.split(b"\r\n\r\n")[1].partition(b"\r\n")[0])["transcriber"] == "fusion"


@pytest.mark.parametrize("given", [{"speakers_count": 0}, {"diarization_type": "best"}, {"media_url": "http://x"}])
def test_options_have_limits_and_no_addresses(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RevaiOptions(**given)


# --- what comes back


def test_marks_belong_to_the_word_before_them() -> None:
    got = heard(
        [
            punct("¿"),
            text("Qué", 0.1, 0.3, confidence=0.75),
            punct("?"),
            punct(" "),
            {"type": "unknown", "value": "<laugh>"},
            punct(" "),
            text("bien", 0.4, 0.6),
            punct("-"),
            text("estar", 0.6, 0.9),
            punct(" "),
            text("untimed"),
        ],
        timestamps=Timestamps.WORD,
    )

    assert got.text == "¿Qué? bien-estar untimed"
    assert [(each.text, each.start_s, each.end_s, each.confidence) for each in got.words] == [
        ("Qué?", 0.1, 0.3, 0.75),
        ("bien-estar", 0.4, 0.9, None),
    ]


def test_where_nobody_writes_spaces_each_element_is_a_word() -> None:
    got = heard([text("你", 0, 1), text("好", 1, 2), punct("。"), text("吗", 2, 3)], timestamps=Timestamps.WORD)

    assert (got.text, [each.text for each in got.words]) == ("你好。吗", ["你", "好。", "吗"])


def test_a_monologue_is_one_speakers() -> None:
    said = [text("Hi", 0, 1), punct(".")], [text("Oh", 1, 2), punct(".")]
    told, untold = heard(*said, diarize=True), heard(*said, timestamps=Timestamps.SEGMENT)

    assert (told.text, told.words) == ("Hi. Oh.", ())
    assert [(each.text, each.speaker) for each in told.segments] == [("Hi.", "0"), ("Oh.", "1")]
    assert [(each.text, each.speaker) for each in untold.segments] == [("Hi.", None), ("Oh.", None)]
    assert heard(*said).segments == ()


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ("invalid_media", JobUnsupported),
        ("empty_media", JobUnsupported),
        (None, JobUnsupported),
        ("transcription", ProviderUnavailable),
        ("download_failure", ProviderUnavailable),
        ("insufficient_balance", QuotaExhausted),
        ("invoicing_limit_exceeded", QuotaExhausted),
    ],
)
def test_a_job_may_fail_behind_a_200(failure: str | None, error: type[Exception]) -> None:
    failed = answer(id="j1", status="failed", failure=failure, failure_detail="secret.wav is broken")
    with pytest.raises(error):
        steps_of(REVAI.transcribe(job(), at("revai", "machine")), MADE, failed)
