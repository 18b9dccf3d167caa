"""What is peculiar to OpenAI: which model knows which field."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from providers.errors import JobUnsupported
from providers.exchange import HttpReply, HttpRequest
from providers.openai import OPENAI, OpenAIOptions, parse_reply
from providers.types import (
    Account,
    Container,
    Deployment,
    GenerationParameters,
    Task,
    Timestamps,
    TranscriptionJob,
)
from tests.conftest import KEY, sample_audio


def deployment(native_model: str) -> Deployment:
    account = Account(name="a", adapter="openai", base_urls=OPENAI.base_urls, api_key=SecretStr(KEY))
    return Deployment(account=account, native_model=native_model)


def request(native_model: str, **wanted: Any) -> HttpRequest:
    asked = TranscriptionJob(model="m", audio=sample_audio("slushy.mp3"), **wanted)
    step = next(OPENAI.transcribe(asked, deployment(native_model)))
    assert isinstance(step, HttpRequest)
    return step


def form(native_model: str, **wanted: Any) -> list[tuple[str, str]]:
    head = request(native_model, **wanted).body[0]
    assert isinstance(head, bytes)
    return re.findall(r'name="([^"]+)"\r\n\r\n(.*?)\r\n--', head.decode())


def test_text_alone_is_asked_for_where_no_times_are_wanted() -> None:
    assert form("whisper-1") == [("model", "whisper-1"), ("response_format", "json")]


def test_the_file_is_last_and_named_by_what_it_is() -> None:
    head = request("whisper-1").body[0]
    assert isinstance(head, bytes)
    assert head.endswith(b'name="file"; filename="audio.mp3"\r\nContent-Type: audio/mpeg\r\n\r\n')


def test_no_credential_is_in_the_request() -> None:
    built = request("whisper-1")
    assert KEY not in repr(built)
    assert built.url == "https://api.openai.com/v1/audio/transcriptions"


def test_word_times_bring_segments_along() -> None:
    assert form("whisper-1", timestamps=Timestamps.WORD)[1:] == [
        ("response_format", "verbose_json"),
        ("timestamp_granularities[]", "segment"),
        ("timestamp_granularities[]", "word"),
    ]


def test_a_model_without_times_is_never_asked_for_verbose_json() -> None:
    """That would be a 400."""
    assert form("gpt-4o-transcribe", timestamps=Timestamps.WORD)[1:] == [("response_format", "json")]


def test_gpt_transcribe_takes_languages_in_a_list() -> None:
    assert form("gpt-transcribe", language="de")[2:] == [("languages[]", "de")]


def test_the_callers_list_of_languages_stands_for_the_one() -> None:
    options = {"openai": OpenAIOptions(languages=["de", "fr"], keywords=["Slush"])}
    assert form("gpt-transcribe", language="de", provider_options=options)[2:] == [
        ("keywords[]", "Slush"),
        ("languages[]", "de"),
        ("languages[]", "fr"),
    ]


@pytest.mark.parametrize("wanted", [{"diarize": True}, {"timestamps": Timestamps.SEGMENT}])
def test_speakers_and_times_come_in_diarized_json(wanted: dict[str, object]) -> None:
    """No granularity is named, and no prompt is sent: this model refuses both."""
    assert form("gpt-4o-transcribe-diarize", prompt="Slush.", **wanted)[1:] == [
        ("response_format", "diarized_json"),
        ("chunking_strategy", "auto"),
    ]


def test_the_diarizing_model_is_always_told_how_to_cut() -> None:
    assert form("gpt-4o-transcribe-diarize")[1:] == [("response_format", "json"), ("chunking_strategy", "auto")]


def test_the_callers_way_to_cut_replaces_ours() -> None:
    vad = OpenAIOptions.model_validate({"chunking_strategy": {"type": "server_vad", "threshold": 0.5}})
    assert form("gpt-4o-transcribe-diarize", provider_options={"openai": vad})[2:] == [
        ("chunking_strategy[type]", "server_vad"),
        ("chunking_strategy[threshold]", "0.5"),
    ]


def test_a_temperature_above_one_is_another_providers_matter() -> None:
    """Clipping it would be to answer another question."""
    with pytest.raises(JobUnsupported, match="temperature"):
        request("whisper-1", generation=GenerationParameters(temperature=1.2))
    assert ("temperature", "1.0") in form("whisper-1", generation=GenerationParameters(temperature=1.0))


def test_a_translation_goes_to_its_own_route_and_names_no_language() -> None:
    built = request("whisper-1", task=Task.TRANSLATE)
    assert built.url.endswith("/v1/audio/translations")
    assert form("whisper-1", task=Task.TRANSLATE, language="fr", timestamps=Timestamps.SEGMENT)[1:] == [
        ("response_format", "verbose_json")
    ]


def test_a_translation_has_no_word_times() -> None:
    with pytest.raises(JobUnsupported, match="words of a translation"):
        request("whisper-1", task=Task.TRANSLATE, timestamps=Timestamps.WORD)


@pytest.mark.parametrize(
    ("model", "retires_on"),
    [
        ("whisper-1", date(2027, 2, 26)),
        ("gpt-4o-transcribe", date(2027, 2, 26)),
        ("gpt-4o-mini-transcribe-2025-03-20", date(2027, 1, 20)),
        ("gpt-transcribe", None),
    ],
)
def test_retirement_is_as_announced(model: str, retires_on: date | None) -> None:
    assert OPENAI.capabilities(deployment(model)).retires_on == retires_on


def test_what_a_model_can_do_is_its_own() -> None:
    whisper, diarizing, unheard_of = (
        OPENAI.capabilities(deployment(model)) for model in ("whisper-1", "gpt-4o-transcribe-diarize", "gpt-9")
    )
    assert (whisper.tasks, whisper.max_duration_s) == (frozenset(Task), None)
    assert (diarizing.diarize, diarizing.prompt, diarizing.max_duration_s) == (True, False, 1400)
    assert unheard_of.timestamps == frozenset()
    assert Container.AIFF not in (unheard_of.containers or ())
    assert whisper.max_bytes is not None
    assert whisper.max_bytes < 26_214_400, "the form needs room"


@pytest.mark.parametrize(
    "options",
    [
        {"known_speaker_references": ["data:audio/wav;base64,AA=="]},
        {"chunking_strategy": "manual"},
        {"chunking_strategy": {"type": "server_vad", "url": "https://evil.example"}},
        {"known_speaker_names": ["a", "b", "c", "d", "e"]},
        {"stream": True},
    ],
)
def test_what_is_not_on_the_list_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        OpenAIOptions.model_validate(options)


def test_a_success_that_was_the_last_for_now_says_so() -> None:
    spent = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}
    assert parse_reply(HttpReply(status=200, headers=spent, body=b'{"text": "a"}')).spent_for_s == 360
    assert parse_reply(HttpReply(status=200, body=b'{"text": "a"}')).spent_for_s is None
