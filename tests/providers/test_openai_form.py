"""What services that took over OpenAI's form have in common."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from providers import openai_form
from providers.errors import (
    CredentialsRejected,
    JobRejected,
    JobUnsupported,
    MalformedReply,
    ProviderError,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
)
from providers.exchange import HttpReply
from providers.types import (
    Account,
    Capabilities,
    Deployment,
    GenerationParameters,
    Task,
    Timestamps,
    Transcript,
    TranscriptionJob,
)
from tests.conftest import KEY, sample_audio

TO = Deployment(
    account=Account(name="a", adapter="acme", base_urls={"api": "https://acme.example/v1"}, api_key=SecretStr(KEY)),
    native_model="m",
)


def job(**wanted: Any) -> TranscriptionJob:
    return TranscriptionJob(model="m", audio=sample_audio("slushy.mp3"), **wanted)


def ok(**answer: object) -> HttpReply:
    return HttpReply(status=200, body=json.dumps(answer).encode())


def failed(status: int, answer: object, **headers: str) -> HttpReply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpReply(status=status, headers=named, body=json.dumps(answer).encode())


def test_a_bare_job_asks_for_nothing_but_text() -> None:
    assert openai_form.fields(job(), TO) == [("model", "m"), ("response_format", "json")]
    assert openai_form.url(job(), TO) == "https://acme.example/v1/audio/transcriptions"


def test_everything_asked_for_is_written() -> None:
    asked = job(
        language="en-US",
        prompt="Slush.",
        timestamps=Timestamps.WORD,
        generation=GenerationParameters(temperature=0.0),
    )
    assert openai_form.fields(asked, TO, granularities="timestamp_granularities") == [
        ("model", "m"),
        ("response_format", "verbose_json"),
        ("language", "en"),
        ("prompt", "Slush."),
        ("temperature", "0.0"),
        ("timestamp_granularities", "segment"),
        ("timestamp_granularities", "word"),
    ]


def test_a_translation_names_neither_language_nor_granularity() -> None:
    asked = job(task=Task.TRANSLATE, language="fr", timestamps=Timestamps.SEGMENT)

    assert openai_form.fields(asked, TO) == [("model", "m"), ("response_format", "verbose_json")]
    assert openai_form.url(asked, TO) == "https://acme.example/v1/audio/translations"


def test_a_language_whisper_does_not_know_goes_as_it_came() -> None:
    assert ("language", "tlh") in openai_form.fields(job(language="tlh"), TO)


def test_what_a_model_has_no_field_for_is_left_out() -> None:
    left = openai_form.honoured(job(prompt="Slush.", timestamps=Timestamps.WORD), Capabilities())

    assert (left.prompt, left.timestamps) == (None, Timestamps.NONE)


def test_options_are_written_as_the_sdk_writes_them() -> None:
    options = {"vad": True, "seed": 7, "keywords": ["a", "b"], "chunking_strategy": {"type": "server_vad", "ms": 5}}

    assert openai_form.option_fields(options) == [
        ("vad", "true"),
        ("seed", "7"),
        ("keywords[]", "a"),
        ("keywords[]", "b"),
        ("chunking_strategy[type]", "server_vad"),
        ("chunking_strategy[ms]", "5"),
    ]


@pytest.mark.parametrize("written", ["4.2", 4.2])
def test_a_duration_may_be_a_string(written: object) -> None:
    assert openai_form.parse_reply("acme", ok(text="hi", duration=written)).duration_s == 4.2


@pytest.mark.parametrize(("named", "code"), [("English", "en"), ("de", "de"), ("klingon", None), (None, None)])
def test_a_language_is_a_name_or_a_code(named: str | None, code: str | None) -> None:
    assert openai_form.parse_reply("acme", ok(text="hi", language=named)).language == code


def test_words_are_under_word_or_text_and_may_sit_inside_segments() -> None:
    segment = {
        "text": " Good morning.",
        "words": [
            {"word": " Good", "start": 0.1, "end": 0.4, "probability": 0.9},
            {"text": "morning.", "start": 0.4, "end": 0.3, "speaker_id": 1, "probability": 9.0},
            {"word": " ", "start": 0.4, "end": 0.4},
        ],
    }
    first, second = openai_form.parse_reply("acme", ok(text="Good morning.", segments=[segment], words=None)).words

    assert (first.text, first.start_s, first.end_s, first.confidence) == ("Good", 0.1, 0.4, 0.9)
    assert (second.text, second.end_s, second.speaker, second.confidence) == ("morning.", 0.4, "1", None)


def test_an_open_segment_stays_open() -> None:
    (segment,) = openai_form.parse_reply("acme", ok(text="hi", segments=[{"text": " hi", "start": -1.0}])).segments

    assert (segment.start_s, segment.end_s) == (0.0, None)


@pytest.mark.parametrize("body", [b'{"text":"x","duration":NaN}', b'{"text":null}', b'"hi"', b"", b"<html>"])
def test_what_cannot_be_believed_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedReply):
        openai_form.parse_reply("acme", HttpReply(status=200, body=body))


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (401, {"error": {"message": "no", "code": "invalid_api_key"}}, CredentialsRejected),
        (403, {"detail": "Invalid API key"}, CredentialsRejected),
        (429, {"error": {"message": "no", "type": "insufficient_quota"}}, QuotaExhausted),
        (400, {"error": {"message": "no", "code": "billing_hard_limit_reached"}}, QuotaExhausted),
        (400, {"error": {"message": "no", "code": "audio_too_short"}}, JobRejected),
        (400, {"error": {"message": "no", "code": 400}}, JobUnsupported),
        (400, {"object": "error", "message": "no", "code": 400}, JobUnsupported),
        (404, {"error": "no such model"}, JobUnsupported),
        (422, {"detail": [{"msg": "Field required", "loc": ["body", "file"]}]}, JobUnsupported),
        (500, {"detail": {"error": "insufficient_quota of memory"}}, ProviderUnavailable),
        (302, [], MalformedReply),
    ],
)
def test_an_error_is_named_whatever_its_envelope(status: int, answer: object, error: type[ProviderError]) -> None:
    assert type(openai_form.classify_error("acme", failed(status, answer))) is error


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"error": {"message": "m"}}, "m"),
        ({"error": "m"}, "m"),
        ({"detail": "m"}, "m"),
        ({"detail": {"error": {"message": "m"}}}, "m"),
        ({"detail": {"error": "m"}}, "m"),
        ({"detail": [{"msg": "m"}]}, "m"),
        ({"message": "m"}, "m"),
        ({"detail": []}, ""),
        (7, ""),
    ],
)
def test_the_message_is_found_in_every_envelope(answer: object, message: str) -> None:
    assert openai_form.read_error(failed(400, answer)).message == message


def test_a_reason_never_repeats_the_providers_words() -> None:
    told = openai_form.classify_error("acme", failed(400, {"error": {"message": "key sk-secret", "code": "sk-secret"}}))

    assert "secret" not in str(told)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry_after_ms": "250", "retry_after": "9"}, 0.25),
        ({"retry_after": "9"}, 9.0),
        ({"retry_after": "inf", "x_ratelimit_reset_requests": "20ms"}, 0.02),
        ({"x_ratelimit_reset_requests": "2m59.5s", "x_ratelimit_reset_tokens": "1s"}, 179.5),
        (
            {"x_ratelimit_reset_requests": "9s", "x_ratelimit_reset_tokens": "1s", "x_ratelimit_remaining_tokens": "0"},
            1,
        ),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait_is_read_from_the_headers(headers: dict[str, str], wait_s: float | None) -> None:
    limited = openai_form.classify_error("acme", failed(429, {}, **headers))

    assert isinstance(limited, RateLimited)
    assert limited.retry_after_s == pytest.approx(wait_s)


KEYS = [
    *("text", "word", "words", "segments", "start", "end", "speaker", "language", "languages", "duration"),
    *("error", "detail", "message", "code", "type", "probability"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
        )
    ),
    max_leaves=20,
)


@given(body=st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_a_transcript_or_malformed(body: bytes) -> None:
    with contextlib.suppress(MalformedReply):
        heard = openai_form.parse_reply("acme", HttpReply(status=200, body=body))
        assert isinstance(heard, Transcript)
        assert all(0 <= word.start_s <= word.end_s for word in heard.words)


@given(status=st.integers(300, 599), body=st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_error_has_a_name(status: int, body: bytes) -> None:
    assert isinstance(openai_form.classify_error("acme", HttpReply(status=status, body=body)), ProviderError)


def test_json_nested_without_end_is_only_text() -> None:
    deep = b"[" * 100_000

    assert openai_form.read_error(HttpReply(status=400, body=deep)).message.startswith("[[[")
