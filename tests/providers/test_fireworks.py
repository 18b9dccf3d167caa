"""What is peculiar to Fireworks: a host for each model, lists as one part, speakers of words alone."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from providers.errors import JobUnsupported
from providers.fireworks import FireworksOptions, capabilities
from providers.types import GenerationParameters, Task, Timestamps
from tests.driving import at, first_request, form_parts

WHISPER = at("fireworks", "whisper-v3")
TIMED = [("model", "whisper-v3"), ("response_format", "verbose_json")]


@pytest.mark.parametrize(
    ("model", "host"),
    [("whisper-v3", "audio-prod"), ("whisper-v3-turbo", "audio-turbo"), ("new", "audio-prod")],
)
def test_each_model_has_its_host(model: str, host: str) -> None:
    to = at("fireworks", model)

    assert first_request(to).url == f"https://{host}.api.fireworks.ai/v1/audio/transcriptions"
    assert first_request(to, task=Task.TRANSLATE).url == f"https://{host}.api.fireworks.ai/v1/audio/translations"
    assert capabilities(to) == capabilities(WHISPER)


def test_levels_are_one_part() -> None:
    words = first_request(
        WHISPER,
        language="fr-CA",
        prompt="names",
        timestamps=Timestamps.WORD,
        generation=GenerationParameters(temperature=0.5),
    )
    segments = first_request(WHISPER, timestamps=Timestamps.SEGMENT)

    assert form_parts(words) == [
        *TIMED,
        ("language", "fr"),
        ("prompt", "names"),
        ("temperature", "0.5"),
        ("timestamp_granularities", "word,segment"),
    ]
    assert form_parts(segments) == [*TIMED, ("timestamp_granularities", "segment")]


def test_speakers_are_asked_for_with_words() -> None:
    given = FireworksOptions(vad_model="whisperx-pyannet", skip_vad=False, max_clip_len=30.5, min_speakers=2)
    told = first_request(WHISPER, diarize=True, provider_options={"fireworks": given})
    untold = first_request(WHISPER, provider_options={"fireworks": given})

    clip = [("vad_model", "whisperx-pyannet"), ("skip_vad", "false"), ("max_clip_len", "30.5")]
    asked = [("timestamp_granularities", "word,segment"), ("diarize", "true")]
    assert form_parts(told) == [*TIMED, *asked, *clip, ("min_speakers", "2")]
    assert form_parts(untold) == [("model", "whisper-v3"), ("response_format", "json"), *clip]


def test_a_translation_names_neither_language_nor_granularity() -> None:
    built = first_request(WHISPER, task=Task.TRANSLATE, language="fr", timestamps=Timestamps.SEGMENT)

    assert form_parts(built) == TIMED


@pytest.mark.parametrize(
    "wanted",
    [
        {"generation": GenerationParameters(temperature=1.5)},
        {"task": Task.TRANSLATE, "timestamps": Timestamps.WORD},
        {"task": Task.TRANSLATE, "diarize": True},
    ],
    ids=["temperature", "words of a translation", "speakers of a translation"],
)
def test_what_would_be_refused_after_the_upload_is_not_sent(wanted: dict[str, Any]) -> None:
    with pytest.raises(JobUnsupported):
        first_request(WHISPER, **wanted)


@pytest.mark.parametrize(
    "given", [{"vad_model": "loud"}, {"min_speakers": 0}, {"max_clip_len": 0}, {"skip_vad": "yes"}, {"file": "x"}]
)
def test_options_have_limits(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FireworksOptions(**given)
