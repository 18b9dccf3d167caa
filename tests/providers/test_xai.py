"""What is peculiar to xAI: a language that only formats, numbered speakers, errors in three shapes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from providers.types import Timestamps, TranscriptionJob
from providers.xai import XaiOptions, build_request
from tests.conftest import sample_audio
from tests.driving import at, text_parts

PLAIN = {"model": ["grok-voice-transcribe-2.0"]}


def form(**wanted: Any) -> dict[str, list[str]]:
    job = TranscriptionJob(model="m", audio=sample_audio("slushy.mp3"), **wanted)
    request = build_request(job, at("xai", "grok-voice-transcribe-2.0"))
    assert request.url == "https://api.x.ai/v1/stt"
    return text_parts(request)


def options(**given: Any) -> dict[str, XaiOptions]:
    return {"xai": XaiOptions(**given)}


def test_words_come_unasked() -> None:
    assert form() == form(timestamps=Timestamps.WORD) == PLAIN
    assert form(diarize=True) == {**PLAIN, "diarize": ["true"]}


def test_numbers_are_written_as_a_named_language_does() -> None:
    assert form(language="German") == {**PLAIN, "language": ["de"], "format": ["true"]}
    plainly = form(language="de", provider_options=options(format=False))
    assert plainly == {**PLAIN, "language": ["de"], "format": ["false"]}


def test_no_format_is_asked_for_without_a_language() -> None:
    given = options(format=True, keyterm=["slushy", "draughty roads"], filler_words=True)

    assert form(provider_options=given) == {**PLAIN, "keyterm": ["slushy", "draughty roads"], "filler_words": ["true"]}


@pytest.mark.parametrize("given", [{"keyterm": []}, {"keyterm": [""]}, {"format": "yes"}, {"url": "x"}])
def test_options_have_limits(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        XaiOptions(**given)
