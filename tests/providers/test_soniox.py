"""What is peculiar to Soniox: words in pieces, translations among them, a file and a transcription to delete."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from providers.errors import JobUnsupported, ProviderUnavailable, RateLimited
from providers.exchange import TRANSIENT, Afterwards
from providers.soniox import SONIOX, SonioxOptions, build_fields, classify_error
from providers.types import Task, Timestamps, Transcript, TranscriptionJob
from tests.conftest import sample_audio
from tests.driving import answer, asked, at, document, requests, steps_of

API = "https://api.soniox.com/v1"
UPLOADED = answer(201, id="f1")
MADE = answer(201, id="t1", status="queued")
DONE = answer(id="t1", status="completed", audio_duration_ms=2500, model="stt-async-v5")
TIMED: dict[str, Any] = {"timestamps": Timestamps.WORD}


def job(**wanted: Any) -> TranscriptionJob:
    return TranscriptionJob(model="m", audio=sample_audio("slushy.mp3"), **wanted)


def fields(**wanted: Any) -> dict[str, Any]:
    return build_fields(job(**wanted), at("soniox", "stt-async-v5"))


def options(**given: Any) -> dict[str, SonioxOptions]:
    return {"soniox": SonioxOptions(**given)}


def token(text: str, start_ms: int | None = None, end_ms: int | None = None, **told: Any) -> dict[str, Any]:
    return {"text": text, "start_ms": start_ms, "end_ms": end_ms, **told}


def heard(tokens: list[dict[str, Any]], **wanted: Any) -> Transcript:
    text = "".join(each["text"] for each in tokens)
    exchange = SONIOX.transcribe(job(**wanted), at("soniox", "stt-async-v5"))
    _, got = steps_of(exchange, UPLOADED, MADE, DONE, answer(id="t1", text=text, tokens=tokens))
    assert isinstance(got, Transcript)
    return got


def test_file_and_transcription_are_both_deleted() -> None:
    exchange = SONIOX.transcribe(job(), at("soniox", "stt-async-v5"))
    steps, got = steps_of(exchange, UPLOADED, MADE, DONE, answer(id="t1", text="", tokens=[]))

    assert asked(steps) == [
        ("POST", f"{API}/files"),
        ("POST", f"{API}/transcriptions"),
        ("GET", f"{API}/transcriptions/t1"),
        ("GET", f"{API}/transcriptions/t1/transcript"),
    ]
    assert document(requests(steps)[1]) == {
        "file_id": "f1",
        "model": "stt-async-v5",
        "enable_language_identification": True,
    }
    assert [(each.request.url, each.not_yet) for each in steps if isinstance(each, Afterwards)] == [
        (f"{API}/files/f1", TRANSIENT),
        (f"{API}/transcriptions/t1", TRANSIENT | {409}),
    ]
    assert (got.duration_s, got.model_version, got.request_id) == (2.5, "stt-async-v5", "t1")


# --- what is sent


def test_everything_has_its_field() -> None:
    given = options(terms=["Zoë"], language_hints=["de", "fr"], language_hints_strict=True)

    assert fields(prompt="A meeting", diarize=True, task=Task.TRANSLATE, provider_options=given) == {
        "model": "stt-async-v5",
        "language_hints": ["de", "fr"],
        "language_hints_strict": True,
        "enable_language_identification": True,
        "context": {"text": "A meeting", "terms": ["Zoë"]},
        "enable_speaker_diarization": True,
        "translation": {"type": "one_way", "target_language": "en"},
    }


@pytest.mark.parametrize(("language", "hint"), [("pt-BR", "pt"), ("de", "de"), ("xx", "xx")])
def test_the_language_that_is_named_is_the_only_hint(language: str, hint: str) -> None:
    assert fields(language=language, provider_options=options(language_hints=["fr"]))["language_hints"] == [hint]


@pytest.mark.parametrize("given", [{"terms": []}, {"language_hints": ["German"]}, {"webhook_url": "http://x"}])
def test_options_have_limits_and_no_addresses(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SonioxOptions(**given)


# --- what comes back


def test_words_are_made_of_their_pieces() -> None:
    got = heard(
        [
            token("Good", 80, 400, confidence=0.75, language="en"),
            token(" morn", 450, 600, language="en"),
            token("ing", 600, 780, language="en"),
            token(".", 780, 800, language="en"),
            token(" ", None, None),
            token("Yes", 900, 1000, language="en"),
        ],
        **TIMED,
    )

    assert got.text == "Good morning. Yes"
    assert [(each.text, each.start_s, each.end_s, each.confidence) for each in got.words] == [
        ("Good", 0.08, 0.4, 0.75),
        ("morning.", 0.45, 0.8, None),
        ("Yes", 0.9, 1.0, None),
    ]
    assert [each.text for each in got.segments] == ["Good morning.", "Yes"]


def test_where_nobody_writes_spaces_each_piece_is_a_word() -> None:
    got = heard([token(each, at, at + 1, language="zh") for at, each in enumerate("你好。")], **TIMED)

    assert (got.text, [each.text for each in got.words], got.language) == ("你好。", ["你", "好。"], "zh")


def test_another_speaker_begins_another_word() -> None:
    tokens = [token("Hi", 0, 100, speaker="1"), token("Oh", 200, 300, speaker="2")]
    told, untold = heard(tokens, diarize=True, **TIMED), heard(tokens, **TIMED)

    assert [(each.text, each.speaker) for each in told.words] == [("Hi", "1"), ("Oh", "2")]
    assert [(each.text, each.speaker) for each in told.segments] == [("Hi", "1"), ("Oh", "2")]
    assert {each.speaker for each in untold.words} | {each.speaker for each in untold.segments} == {None}
    assert (heard(tokens).words, heard(tokens).segments) == ((), ())


GERMAN: dict[str, Any] = {"translation_status": "original", "language": "de"}
ENGLISH: dict[str, Any] = {"translation_status": "translation", "language": "en", "source_language": "de"}
TRANSLATED = [
    token("Guten", 0, 400, speaker="1", **GERMAN),
    token(" Tag.", 400, 900, speaker="1", **GERMAN),
    token("Good", speaker="1", **ENGLISH),
    token(" day.", speaker="1", **ENGLISH),
    token(" Hello.", 1000, 1500, speaker="2", translation_status="none", language="en"),
    token(" Ja.", 2000, 2500, speaker="1", **GERMAN),
    token(" Yes.", speaker="1", **ENGLISH),
]


def test_a_translation_stands_in_the_time_of_what_it_translates() -> None:
    """And what was said in English needs none."""
    wanted: dict[str, Any] = {"task": Task.TRANSLATE, "timestamps": Timestamps.SEGMENT}
    got = heard(TRANSLATED, **wanted)

    assert (got.text, got.language, got.words) == ("Good day. Hello. Yes.", "de", ())
    assert [(each.text, each.start_s, each.end_s, each.speaker) for each in got.segments] == [
        ("Good day.", 0.0, 0.9, None),
        ("Hello.", 1.0, 1.5, None),
        ("Yes.", 2.0, 2.5, None),
    ]
    assert [each.speaker for each in heard(TRANSLATED, task=Task.TRANSLATE, diarize=True).segments] == ["1", "2", "1"]
    assert heard(TRANSLATED, task=Task.TRANSLATE).segments == ()


def test_a_translation_of_nothing_timed_begins_with_the_audio() -> None:
    got = heard([token("Good day.", **ENGLISH)], task=Task.TRANSLATE, timestamps=Timestamps.SEGMENT)

    assert [(each.text, each.start_s, each.end_s) for each in got.segments] == [("Good day.", 0.0, None)]


def test_words_of_a_translation_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(JobUnsupported, match="words of a translation"):
        next(SONIOX.transcribe(job(task=Task.TRANSLATE, **TIMED), at("soniox", "stt-async-v5")))


# --- what went wrong


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        ("error", "internal_error", ProviderUnavailable),
        ("error", "audio_too_long", JobUnsupported),
        ("failed", None, JobUnsupported),
    ],
)
def test_a_transcription_may_fail_behind_a_200(status: str, kind: str | None, error: type[Exception]) -> None:
    failed = answer(id="t1", status=status, error_type=kind, error_message="secret.wav is broken")
    with pytest.raises(error):
        steps_of(SONIOX.transcribe(job(), at("soniox", "stt-async-v5")), UPLOADED, MADE, failed)


def test_being_full_is_over_by_itself() -> None:
    assert isinstance(classify_error(answer(400, error_type="file_storage_limit_exceeded")), RateLimited)
    assert isinstance(classify_error(answer(400, error_type="invalid_request")), JobUnsupported)
    assert isinstance(classify_error(answer(400, error_type=7)), JobUnsupported)
