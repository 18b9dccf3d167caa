"""What is peculiar to AssemblyAI: a job of its own for each file, milliseconds, translations turn by turn."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from pydantic import ValidationError

from providers.assemblyai import ASSEMBLYAI, AssemblyaiOptions, build_fields
from providers.errors import JobUnsupported, MalformedReply, QuotaExhausted
from providers.exchange import Afterwards
from providers.provider import unread_options
from providers.types import GenerationParameters, Task, Timestamps, Transcript, TranscriptionJob
from tests.conftest import sample_audio
from tests.driving import answer, asked, at, document, requests, steps_of

API = "https://api.assemblyai.com/v2"
UPLOADED = answer(upload_url="https://cdn.assemblyai.com/upload/u1")
ORDERED = answer(id="t1", status="queued")
TURN = {
    "speaker": "B", "text": "Guten Tag.", "start": 80, "end": 900, "confidence": 0.9,
    "translated_texts": {"en": "Good day."},
}  # fmt: skip
WORD = {"text": "Guten", "start": 80, "end": 400, "confidence": 0.75, "speaker": "B"}


def job(**wanted: Any) -> TranscriptionJob:
    return TranscriptionJob(model="m", audio=sample_audio("slushy.mp3"), **wanted)


def fields(native_model: str = "universal-3-5-pro", **wanted: Any) -> dict[str, object]:
    return build_fields(job(**wanted), at("assemblyai", native_model))


def options(**given: Any) -> dict[str, AssemblyaiOptions]:
    return {"assemblyai": AssemblyaiOptions(**given)}


def heard(the_job: TranscriptionJob | None = None, **done: Any) -> Transcript:
    exchange = ASSEMBLYAI.transcribe(the_job or job(), at("assemblyai", "universal-2"))
    _, transcript = steps_of(exchange, UPLOADED, ORDERED, answer(id="t1", status="completed", **done))
    assert isinstance(transcript, Transcript)
    return transcript


def test_the_audio_goes_ahead_and_both_are_deleted_together() -> None:
    exchange = ASSEMBLYAI.transcribe(job(), at("assemblyai", "universal-2"))
    steps, _ = steps_of(exchange, UPLOADED, ORDERED, answer(id="t1", status="completed", text="Hi."))

    assert asked(steps) == [("POST", f"{API}/upload"), ("POST", f"{API}/transcript"), ("GET", f"{API}/transcript/t1")]
    upload, order, _ = requests(steps)
    assert (len(upload.body), upload.headers) == (1, {"content-type": "application/octet-stream"})
    assert document(order)["audio_url"] == "https://cdn.assemblyai.com/upload/u1"
    assert [(each.request.method, each.request.url) for each in steps if isinstance(each, Afterwards)] == [
        ("DELETE", f"{API}/transcript/t1")
    ]


def test_its_key_stands_alone() -> None:
    to = at("assemblyai", "universal-2")
    first = requests(steps_of(ASSEMBLYAI.transcribe(job(), to))[0])[0]

    assert ASSEMBLYAI.authorize(first, to.account).headers["authorization"] == "emulated-key"


# --- what is sent


@pytest.mark.parametrize(
    ("language", "sent"),
    [
        (None, {"language_detection": True}),
        ("en", {"language_code": "en"}),
        ("en-US", {"language_code": "en_us"}),
        ("en-GB", {"language_code": "en_uk"}),
        ("pt-BR", {"language_code": "pt"}),
        ("xx", {"language_code": "xx"}),
    ],
)
def test_a_language_is_named_or_detected_never_left_out(language: str | None, sent: dict[str, object]) -> None:
    assert fields("universal-2", language=language) == {"speech_models": ["universal-2"], **sent}


def test_a_detection_may_be_told_among_which_and_how_sure() -> None:
    given = options(expected_languages=["de", "fr"], language_confidence_threshold=0.5)

    assert fields(provider_options=given) == {
        "speech_models": ["universal-3-5-pro"],
        "language_detection": True,
        "language_detection_options": {"expected_languages": ["de", "fr"]},
        "language_confidence_threshold": 0.5,
    }
    assert fields(language="de", provider_options=given) == {
        "speech_models": ["universal-3-5-pro"],
        "language_code": "de",
    }


def test_prompt_and_temperature_are_of_the_third_family() -> None:
    wanted: dict[str, Any] = {
        "language": "en",
        "prompt": "Zoë",
        "generation": GenerationParameters(temperature=1.5, top_k=3),
    }

    assert fields("universal-3-pro", **wanted) | {"speech_models": []} == {
        "speech_models": [],
        "language_code": "en",
        "prompt": "Zoë",
        "temperature": 1.0,
    }
    assert fields("universal-2", **wanted).keys() == {"speech_models", "language_code"}


def test_speakers_and_terms() -> None:
    given = options(min_speakers_expected=2, max_speakers_expected=4, keyterms_prompt=["Zoë"], disfluencies=True)
    sent = fields(language="en", diarize=True, provider_options=given)

    assert sent["speaker_labels"] is True
    assert sent["speaker_options"] == {"min_speakers_expected": 2, "max_speakers_expected": 4}
    assert (sent["keyterms_prompt"], sent["disfluencies"]) == (["Zoë"], True)
    assert unread_options(
        job(provider_options=given), "assemblyai", ASSEMBLYAI.capabilities(at("assemblyai", "x"))
    ) == [
        "max_speakers_expected",
        "min_speakers_expected",
    ]


@pytest.mark.parametrize("given", [{"speech_threshold": 2}, {"webhook_url": "http://x"}, {"keyterms_prompt": [""]}])
def test_options_have_limits_and_no_addresses(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AssemblyaiOptions(**given)


# --- what comes back


def test_times_become_seconds_and_speakers_come_where_asked_for() -> None:
    done: dict[str, Any] = {"text": "Guten Tag.", "words": [WORD], "utterances": [TURN], "language_code": "de"}
    told = heard(job(timestamps=Timestamps.WORD, diarize=True), **done)
    untold = heard(job(timestamps=Timestamps.WORD), **done)

    assert [(w.text, w.start_s, w.end_s, w.speaker, w.confidence) for w in told.words] == [
        ("Guten", 0.08, 0.4, "B", 0.75)
    ]
    assert [(s.text, s.start_s, s.end_s, s.speaker) for s in told.segments] == [("Guten Tag.", 0.08, 0.9, "B")]
    assert ([w.speaker for w in untold.words], untold.segments, untold.language) == ([None], (), "de")


def test_what_nobody_asked_for_is_left_out() -> None:
    got = heard(text=" Hi. ", words=[WORD], utterances=[TURN])

    assert (got.text, got.words, got.segments) == ("Hi.", (), ())


def test_its_whole_seconds_count_only_where_the_file_says_nothing() -> None:
    told = job()
    told = replace(told, audio=replace(told.audio, duration_s=3.4))

    assert heard(text="", audio_duration=3).duration_s == 3.0
    assert heard(told, text="", audio_duration=3).duration_s is None


def test_a_translation_is_a_text_and_with_times_one_for_each_turn() -> None:
    done: dict[str, Any] = {"text": "Guten Tag.", "translated_texts": {"en": "Good day. "}, "utterances": [TURN]}
    plain, timed = job(task=Task.TRANSLATE), job(task=Task.TRANSLATE, timestamps=Timestamps.SEGMENT)

    assert (heard(plain, **done).text, heard(plain, **done).segments) == ("Good day.", ())
    assert [(s.text, s.speaker) for s in heard(timed, **done).segments] == [("Good day.", None)]
    understanding: Any = fields(task=Task.TRANSLATE, timestamps=Timestamps.SEGMENT)
    assert understanding["speaker_labels"] is True
    assert understanding["speech_understanding"]["request"]["translation"] == {
        "target_languages": ["en"],
        "match_original_utterance": True,
    }


@pytest.mark.parametrize("missing", [{"text": "Hallo."}, {"text": "Hallo.", "translated_texts": {"fr": "Bonjour"}}])
def test_no_translation_is_no_silence(missing: dict[str, Any]) -> None:
    with pytest.raises(MalformedReply, match="without a translation"):
        heard(job(task=Task.TRANSLATE), **missing)


def test_a_turn_that_was_not_translated_is_not_left_out() -> None:
    with pytest.raises(MalformedReply, match="turn"):
        heard(
            job(task=Task.TRANSLATE, diarize=True),
            text="Hallo.",
            translated_texts={"en": "Hello."},
            utterances=[TURN, {**TURN, "translated_texts": None}],
        )


def test_words_of_a_translation_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(JobUnsupported, match="words of a translation"):
        next(ASSEMBLYAI.transcribe(job(task=Task.TRANSLATE, timestamps=Timestamps.WORD), at("assemblyai", "x")))


def test_who_owes_money_is_told_so_in_a_400() -> None:
    exchange = ASSEMBLYAI.transcribe(job(), at("assemblyai", "universal-2"))
    with pytest.raises(QuotaExhausted):
        steps_of(exchange, UPLOADED, answer(400, error="Your current account balance is negative."))
