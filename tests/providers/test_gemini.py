"""What is peculiar to Gemini: two ways to ask, instructions, and audio that is uploaded first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from providers import gemini
from providers.audio.content import MemoryContent
from providers.exchange import TRANSIENT, Afterwards, Base64, HttpReply, HttpRequest, Wait
from providers.gemini import GEMINI, GeminiOptions
from providers.provider import unread_options
from providers.types import Container, GenerationParameters, Task, Timestamps, TranscriptionJob
from tests.conftest import sample_audio
from tests.driving import answer, asked, at, requests, steps_of

if TYPE_CHECKING:
    from providers.types import Deployment

ONLY, GENERAL = "gemini-3.5-transcribe", "gemini-2.5-flash"
API = "https://generativelanguage.googleapis.com/v1beta"


def job(**wanted: Any) -> TranscriptionJob:
    return TranscriptionJob(model="m", audio=sample_audio("sb_spk2_snt1.flac"), **wanted)


def large(**wanted: Any) -> TranscriptionJob:
    whole = job(**wanted)
    return replace(whole, audio=replace(whole.audio, content=MemoryContent(bytes(15_000_000))))


def first(to: Deployment, wanted: TranscriptionJob) -> tuple[HttpRequest, dict[str, Any]]:
    """Return the first request, and its JSON with the audio left out."""
    request = next(GEMINI.transcribe(wanted, to))
    assert isinstance(request, HttpRequest)
    return request, json.loads(b"".join(piece for piece in request.body if isinstance(piece, bytes)))


# --- models that only transcribe


def test_everything_asked_for_is_sent_as_an_interaction() -> None:
    options = {"gemini": GeminiOptions(custom_vocabulary=["gnocchi"], language_codes=["fr", "de-CH"])}
    wanted = job(
        language="en-GB",
        prompt="Zoë, Mr. Dashwood;\nplain English",
        timestamps=Timestamps.SEGMENT,
        diarize=True,
        provider_options=options,
    )
    request, body = first(at("gemini", ONLY), wanted)

    assert (request.url, request.bills) == (f"{API}/interactions", True)
    assert body == {
        "model": ONLY,
        "store": False,
        "input": [{"type": "audio", "mime_type": "audio/flac", "data": ""}],
        "generation_config": {
            "transcription_config": {
                "mode": {"type": "verbatim", "timestamp_granularities": ["word"], "diarization_mode": "speaker"},
                "language_codes": ["en-GB"],
                "custom_vocabulary": ["Zoë", "Mr. Dashwood", "plain English", "gnocchi"],
            }
        },
    }
    assert any(isinstance(piece, Base64) for piece in request.body)


def test_without_a_language_those_expected_are_named() -> None:
    _, body = first(at("gemini", ONLY), job(provider_options={"gemini": GeminiOptions(language_codes=["fr", "de-CH"])}))

    config = body["generation_config"]["transcription_config"]
    assert config == {"mode": {"type": "verbatim"}, "language_codes": ["fr", "de-CH"]}


# --- models that do as they are told


def test_everything_asked_for_is_told_to_a_general_model() -> None:
    generation = GenerationParameters(temperature=2.5, top_p=0.5, top_k=3, max_new_tokens=77)
    wanted = job(task=Task.TRANSLATE, language="fr", prompt="Zoë's names", generation=generation)
    request, body = first(at("gemini", GENERAL), wanted)

    assert request.url == f"{API}/models/{GENERAL}:generateContent"
    assert "translated into English" in body["systemInstruction"]["parts"][0]["text"]
    sound, told = body["contents"][0]["parts"]
    assert sound == {"inlineData": {"mimeType": "audio/flac", "data": ""}}
    assert told["text"] == (
        "Translate the speech into English.\nThe language spoken is french.\n"
        "What may help with names and spelling: Zoë's names"
    )
    assert body["generationConfig"] == {
        "candidateCount": 1,
        "maxOutputTokens": 77,
        "temperature": 2.0,
        "topP": 0.5,
        "topK": 3,
        "thinkingConfig": {"thinkingBudget": 0},
    }


@pytest.mark.parametrize(
    ("generation", "temperature"),
    [
        (GenerationParameters(), 0),
        (GenerationParameters(do_sample=True), None),
        (GenerationParameters(do_sample=False, temperature=0.7), 0),
        (GenerationParameters(do_sample=True, temperature=0.7), 0.7),
    ],
)
def test_the_likeliest_words_unless_asked_otherwise(generation: GenerationParameters, temperature: float) -> None:
    _, body = first(at("gemini", GENERAL), job(generation=generation))

    assert body["generationConfig"].get("temperature") == temperature


@pytest.mark.parametrize(("duration_s", "tokens"), [(None, 65_536), (60.0, 8192 + 1920), (9 * 3600.0, 65_536)])
def test_what_loops_is_ended_by_the_length_of_the_audio(duration_s: float | None, tokens: int) -> None:
    wanted = job()
    _, body = first(
        at("gemini", "gemini-3.5-flash"), replace(wanted, audio=replace(wanted.audio, duration_s=duration_s))
    )

    assert body["generationConfig"] == {"candidateCount": 1, "maxOutputTokens": tokens, "temperature": 0}


def test_an_end_that_was_asked_for_is_no_fault() -> None:
    """Without such a wish it is one: the fixture written_without_end."""
    cut = answer(candidates=[{"content": {"parts": [{"text": "Good mor"}]}, "finishReason": "MAX_TOKENS"}])
    wanted = job(generation=GenerationParameters(max_new_tokens=2))
    _, heard = steps_of(GEMINI.transcribe(wanted, at("gemini", GENERAL)), cut)

    assert heard.text == "Good mor"


# --- both


@pytest.mark.parametrize(("native", "timed"), [("gemini-9-transcribe", True), ("gemini-9-pro", False)])
def test_an_unknown_model_is_told_by_its_name(native: str, *, timed: bool) -> None:
    can = GEMINI.capabilities(at("gemini", native))

    assert (can.diarize, bool(can.timestamps), bool(can.generation)) == (timed, timed, not timed)


def test_a_general_model_reads_no_option() -> None:
    wanted = job(provider_options={"gemini": GeminiOptions(custom_vocabulary=["a"])})

    assert unread_options(wanted, "gemini", gemini.capabilities(at("gemini", GENERAL))) == ["custom_vocabulary"]


def test_audio_of_an_unknown_kind_keeps_its_label() -> None:
    wanted = job()
    odd = replace(wanted, audio=replace(wanted.audio, container=None, media_type="audio/x-odd"))
    caf = replace(wanted, audio=replace(wanted.audio, container=Container.CAF, media_type="audio/x-caf"))

    for each, label in ((odd, "audio/x-odd"), (caf, "audio/x-caf")):
        _, body = first(at("gemini", ONLY), each)
        assert body["input"][0]["mime_type"] == label


def test_large_audio_is_uploaded_first_and_deleted_afterwards() -> None:
    begun = HttpReply(status=200, headers={"x-goog-upload-url": f"{API}/up?upload_id=1"})
    file = {"name": "files/f1", "uri": f"{API}/files/f1", "state": "PROCESSING"}
    steps, heard = steps_of(
        GEMINI.transcribe(large(), at("gemini", ONLY)),
        begun,
        answer(file=file),
        answer(503),
        answer(**{**file, "state": "ACTIVE"}),
        answer(status="completed"),
    )

    assert heard.text == ""
    assert asked(steps) == [
        ("POST", "https://generativelanguage.googleapis.com/upload/v1beta/files"),
        ("POST", f"{API}/up?upload_id=1"),
        ("GET", f"{API}/files/f1"),
        ("GET", f"{API}/files/f1"),
        ("POST", f"{API}/interactions"),
    ]
    assert requests(steps)[0].headers["x-goog-upload-header-content-length"] == "15000000"
    assert json.loads(b"".join(requests(steps)[-1].body))["input"] == [  # type: ignore[arg-type]  # no audio is in it
        {"type": "audio", "mime_type": "audio/flac", "uri": f"{API}/files/f1"}
    ]
    (later,) = [each for each in steps if isinstance(each, Afterwards)]
    assert (later.request.method, later.request.url) == ("DELETE", f"{API}/files/f1")
    assert later.not_yet == TRANSIENT
    assert steps.index(later) < next(number for number, each in enumerate(steps) if isinstance(each, Wait))
