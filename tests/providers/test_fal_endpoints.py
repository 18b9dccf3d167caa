"""What each of fal's endpoints is asked in."""

from __future__ import annotations

import pytest

from providers.fal_endpoints import ENDPOINTS, FalOptions, chunk_level, endpoint_of
from providers.types import Task, Timestamps, TranscriptionJob
from tests.conftest import sample_audio


def job(**asked: object) -> TranscriptionJob:
    return TranscriptionJob(model="m", audio=sample_audio("slushy.wav"), **asked)  # type: ignore[arg-type] # any field


def test_an_unknown_endpoint_is_asked_for_a_text_alone() -> None:
    unknown = endpoint_of("fal-ai/tomorrow")

    assert unknown.fields(job(language="de", diarize=True)) == {}
    assert (unknown.capabilities.timestamps, unknown.capabilities.language_hint) == (frozenset(), False)


@pytest.mark.parametrize("name", sorted(ENDPOINTS))
def test_every_endpoint_reads_options_that_a_caller_can_give(name: str) -> None:
    can = ENDPOINTS[name].capabilities

    assert can.options <= FalOptions.model_fields.keys()
    assert can.speaker_options <= can.options


def test_whisper_is_told_everything() -> None:
    asked = job(task=Task.TRANSLATE, language="german", prompt="Slush", diarize=True, timestamps=Timestamps.WORD)

    assert endpoint_of("fal-ai/whisper").fields(asked) == {
        "task": "translate",
        "chunk_level": "word",
        "language": "de",
        "prompt": "Slush",
        "diarize": True,
    }


def test_wizper_is_always_told_the_language() -> None:
    """Left out, it would be English; null means that it finds out."""
    assert endpoint_of("fal-ai/wizper").fields(job()) == {"task": "transcribe", "language": None}


def test_scribe_is_always_told_to_leave_events_out() -> None:
    fields = endpoint_of("fal-ai/elevenlabs/speech-to-text").fields(job(language="en"))

    assert fields == {"diarize": False, "tag_audio_events": False, "language_code": "en"}


@pytest.mark.parametrize(
    ("timestamps", "diarize", "possible", "level"),
    [
        (Timestamps.NONE, False, frozenset(Timestamps), "none"),
        (Timestamps.NONE, True, frozenset(Timestamps), "segment"),
        (Timestamps.WORD, False, frozenset(Timestamps), "word"),
        (Timestamps.WORD, False, frozenset({Timestamps.SEGMENT}), "segment"),
    ],
)
def test_a_speaker_needs_a_chunk(
    *, timestamps: Timestamps, diarize: bool, possible: frozenset[Timestamps], level: str
) -> None:
    assert chunk_level(job(timestamps=timestamps, diarize=diarize), possible) == level
