"""What differs among services of OpenAI's form: addresses, and what each of them is sent at most."""

from __future__ import annotations

from typing import Any

import pytest

from providers.errors import JobUnsupported
from providers.openai_hosts import MODELS
from providers.registry import PROVIDERS, module_of
from providers.types import Container, GenerationParameters, Task, Timestamps
from tests.driving import at, first_request, form_parts

EVERYTHING: dict[str, Any] = {
    "language": "de",
    "prompt": "names",
    "timestamps": Timestamps.WORD,
    "generation": GenerationParameters(temperature=0.5),
    "diarize": True,
}
JSON, VERBOSE = ("response_format", "json"), ("response_format", "verbose_json")
LEVELS = [("timestamp_granularities[]", "segment"), ("timestamp_granularities[]", "word")]
PROMPT, TEMPERATURE, GERMAN = ("prompt", "names"), ("temperature", "0.5"), ("language", "de")
SENT: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("sambanova", "Whisper-Large-v3", [JSON, GERMAN, PROMPT]),
    ("lemonfox", "whisper-1", [VERBOSE, ("language", "german"), PROMPT, *LEVELS, ("speaker_labels", "true")]),
    ("ovhcloud", "whisper-large-v3", [VERBOSE, GERMAN, PROMPT, TEMPERATURE, *LEVELS]),
    ("scaleway", "voxtral-small-24b-2507", [JSON, GERMAN, PROMPT, TEMPERATURE]),
    ("telnyx", "openai/whisper-large-v3-turbo", [JSON, GERMAN]),
    ("telnyx", "nvidia/parakeet-v3", [JSON]),
    ("venice", "openai/whisper-large-v3", [JSON, GERMAN]),
    ("venice", "new", [JSON, GERMAN]),
]
ADDRESSES = {
    "sambanova": "https://api.sambanova.ai/v1/audio/transcriptions",
    "lemonfox": "https://api.lemonfox.ai/v1/audio/transcriptions",
    "ovhcloud": "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1/audio/transcriptions",
    "scaleway": "https://api.scaleway.ai/v1/audio/transcriptions",
    "telnyx": "https://api.telnyx.com/v2/ai/audio/transcriptions",
    "venice": "https://api.venice.ai/api/v1/audio/transcriptions",
}


def test_every_row_is_a_provider_with_an_address() -> None:
    assert MODELS.keys() == ADDRESSES.keys() == {name for name in PROVIDERS if module_of(name) == "openai_hosts"}


@pytest.mark.parametrize("name", sorted(ADDRESSES))
def test_each_has_its_address(name: str) -> None:
    assert first_request(at(name, next(iter(MODELS[name])))).url == ADDRESSES[name]
    assert PROVIDERS[name] is PROVIDERS[name]


@pytest.mark.parametrize(("name", "model", "sent"), SENT)
def test_each_is_sent_what_it_is_said_to_take(name: str, model: str, sent: list[tuple[str, str]]) -> None:
    assert form_parts(first_request(at(name, model), **EVERYTHING)) == [("model", model), *sent]


def test_speakers_come_with_times() -> None:
    told = form_parts(first_request(at("lemonfox", "whisper-1"), diarize=True))

    assert told == [("model", "whisper-1"), VERBOSE, LEVELS[0], ("speaker_labels", "true")]


def test_sambanova_translates() -> None:
    built = first_request(at("sambanova", "Whisper-Large-v3"), task=Task.TRANSLATE)

    assert built.url == "https://api.sambanova.ai/v1/audio/translations"
    assert Task.TRANSLATE not in PROVIDERS["ovhcloud"].capabilities(at("ovhcloud", "whisper-large-v3")).tasks


def test_limits_are_each_models_own() -> None:
    can = {model: PROVIDERS["telnyx"].capabilities(at("telnyx", model)) for model in MODELS["telnyx"]}
    voxtral = PROVIDERS["scaleway"].capabilities(at("scaleway", "voxtral-small-24b-2507"))

    assert can["deepgram/nova-3"].containers == frozenset({Container.MP3, Container.WAV})
    assert can["distil-whisper/distil-large-v2"].languages == frozenset({"en"})
    assert (voxtral.max_duration_s, voxtral.max_bytes) == (1800.0, 25_000_000 - 65_536)


def test_what_would_be_refused_after_the_upload_is_not_sent() -> None:
    with pytest.raises(JobUnsupported):
        first_request(at("ovhcloud", "whisper-large-v3"), generation=GenerationParameters(temperature=1.5))
