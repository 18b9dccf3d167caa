"""The official `openai` package against the running gateway: its typed models must accept every answer."""

from __future__ import annotations

import openai
import pytest
from openai.types.audio import Transcription, TranscriptionDiarized, TranscriptionVerbose

from tests.conftest import AUDIO

SAID = "ask not what your country can do for you"


@pytest.fixture
def client(gateway_url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway_url}/v1", api_key="any", max_retries=0)


def test_json(client: openai.OpenAI) -> None:
    with (AUDIO / "jfk.flac").open("rb") as file:
        heard = client.audio.transcriptions.create(file=file, model="whisper-1")
    assert isinstance(heard, Transcription)
    assert SAID in heard.text


def test_verbose_json_with_words_and_segments(client: openai.OpenAI) -> None:
    with (AUDIO / "jfk.flac").open("rb") as file:
        heard = client.audio.transcriptions.create(
            file=file, model="whisper-1", response_format="verbose_json", timestamp_granularities=["word", "segment"]
        )
    assert isinstance(heard, TranscriptionVerbose)
    assert heard.language == "english"
    assert heard.duration == pytest.approx(11.0, abs=0.1)
    assert heard.words and [w.word for w in heard.words][:3] == ["And", "so", "my"]
    assert heard.segments and heard.segments[-1].end <= 11.0
