"""What is peculiar to OpenRouter: audio in JSON, and models of which only their 400 tells what they cannot do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from providers.exchange import Base64, HttpRequest
from providers.openrouter import OpenRouterOptions, capabilities
from providers.types import Container, Deployment, GenerationParameters, Timestamps
from tests.driving import at, first_request

WHISPER = at("openrouter", "openai/whisper-large-v3")
ANY = at("openrouter", "acme/new")
TIMED = {"response_format": "verbose_json", "timestamp_granularities": ["segment", "word"]}


def fields(request: HttpRequest) -> dict[str, Any]:
    assert request.url == "https://openrouter.ai/api/v1/audio/transcriptions"
    assert any(isinstance(piece, Base64) for piece in request.body)
    said = b"".join(piece for piece in request.body if isinstance(piece, bytes))
    told: dict[str, Any] = json.loads(said)
    return told


def asked(to: Deployment, **wanted: Any) -> dict[str, Any]:
    """Return what is asked for beyond the model and the audio."""
    told = fields(first_request(to, **wanted))
    assert told.pop("model") == to.native_model
    assert told.pop("input_audio") == {"data": "", "format": "flac"}
    return told


def test_everything_asked_for_is_sent() -> None:
    options = OpenRouterOptions(keyterms=["slushy", "draughty roads"], zdr=True, data_collection="deny")
    wanted = {"generation": GenerationParameters(temperature=0.5), "provider_options": {"openrouter": options}}
    sent = {"language": "fr", "temperature": 0.5, "provider": {"data_collection": "deny", "zdr": True}}

    assert asked(WHISPER, language="fr-CA", timestamps=Timestamps.WORD, **wanted) == {**sent, **TIMED}
    assert asked(ANY, language="fr-CA", diarize=True, **wanted) == {
        **sent,
        **TIMED,
        "diarize": True,
        "keyterms": ["slushy", "draughty roads"],
    }


def test_nothing_is_asked_for_that_was_not() -> None:
    segments = {"response_format": "verbose_json", "timestamp_granularities": ["segment"]}

    assert asked(WHISPER) == asked(WHISPER, prompt="names") == {}
    assert asked(WHISPER, timestamps=Timestamps.SEGMENT) == segments
    assert asked(at("openrouter", "openai/gpt-4o-transcribe"), timestamps=Timestamps.SEGMENT) == {}


def test_what_each_model_can_do() -> None:
    chirp = capabilities(at("openrouter", "google/chirp-3"))

    assert not capabilities(WHISPER).diarize
    assert capabilities(ANY).diarize
    assert (chirp.containers, chirp.max_duration_s) == (frozenset({Container.WAV, Container.FLAC}), 60.0)
    assert not chirp.timestamps


@pytest.mark.parametrize("given", [{"keyterms": []}, {"zdr": "yes"}, {"data_collection": "some"}, {"user": "me"}])
def test_options_have_limits(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OpenRouterOptions(**given)
