"""What is peculiar to hf-inference: two forms of the body, and chunks that do not say what they are."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from providers import hf_inference
from providers.errors import JobRejected, JobUnsupported, MalformedReply, ProviderUnavailable, RateLimited
from providers.exchange import Base64, HttpReply, HttpRequest
from providers.hf_inference import HF_INFERENCE
from providers.types import (
    Account,
    Container,
    Deployment,
    GenerationParameters,
    Task,
    Timestamps,
    Transcript,
    TranscriptionJob,
)
from tests.conftest import sample, sample_audio

ROUTER = "https://router.huggingface.co/hf-inference"
ENDPOINT = "https://abc.endpoints.huggingface.cloud"


def deployment(native_model: str = "openai/whisper-large-v3", url: str = ROUTER) -> Deployment:
    there = Account(name="a", adapter="hf-inference", base_urls={"api": url}, api_key=SecretStr("hf_secret"))
    return Deployment(account=there, native_model=native_model)


def request(to: Deployment | None = None, file: str = "sb_spk2_snt1.flac", **wanted: Any) -> HttpRequest:
    job = TranscriptionJob(model="m", audio=sample_audio(file), **wanted)
    return hf_inference.build_request(job, to or deployment())


def document(built: HttpRequest) -> dict[str, Any]:
    """Return the JSON that the body's pieces make."""
    assert built.headers["content-type"] == "application/json"
    text = b"".join(
        base64.b64encode(b"".join(piece.content.slices())) if isinstance(piece, Base64) else piece
        for piece in built.body
        if isinstance(piece, Base64 | bytes)
    )
    read: dict[str, Any] = json.loads(text)
    return read


def reply(status: int = 200, **body: Any) -> HttpReply:
    return HttpReply(status=status, body=json.dumps(body).encode())


def test_the_upload_is_the_body_where_no_parameter_is_asked_for() -> None:
    built = request(prompt="the specification has no prompt")

    assert built.url == f"{ROUTER}/models/openai/whisper-large-v3"
    assert built.headers == {"content-type": "audio/flac"}
    assert len(built.body) == 1
    assert not isinstance(built.body[0], bytes | Base64)


@pytest.mark.parametrize(
    ("file", "label"),
    [("slushy.m4a", "audio/m4a"), ("slushy.webm", "audio/webm"), ("slushy.opus", "audio/ogg")],
)
def test_a_container_bears_the_name_the_service_lists(file: str, label: str) -> None:
    """It refuses audio/mp4."""
    assert request(file=file).headers["content-type"] == label


def test_what_the_service_does_not_list_is_transcoded_first() -> None:
    containers = HF_INFERENCE.capabilities(deployment()).containers

    assert containers is not None
    assert {Container.MP4, Container.WEBM} <= containers
    assert not {Container.AAC, Container.AIFF} & containers


def test_a_parameter_turns_the_body_into_json() -> None:
    asked = document(request(timestamps=Timestamps.WORD))

    assert base64.b64decode(asked["inputs"]) == sample("sb_spk2_snt1.flac")
    assert asked["parameters"] == {"return_timestamps": "word"}
    assert document(request(timestamps=Timestamps.SEGMENT))["parameters"] == {"return_timestamps": True}


def test_language_and_task_ride_in_generation_parameters() -> None:
    asked = document(
        request(
            language="fr",
            task=Task.TRANSLATE,
            generation=GenerationParameters(temperature=0.2, early_stopping="never", use_cache=False),
        )
    )

    assert asked["parameters"] == {
        "generation_parameters": {
            "temperature": 0.2,
            "early_stopping": "never",
            "use_cache": False,
            "language": "fr",
            "task": "translate",
        }
    }


def test_a_dedicated_endpoint_is_its_url_and_names_no_model() -> None:
    assert request(deployment("", ENDPOINT)).url == f"{ENDPOINT}/"


def test_a_model_s_name_cannot_leave_its_path() -> None:
    assert request(deployment("a/b?c#d")).url == f"{ROUTER}/models/a/b%3Fc%23d"


@pytest.mark.parametrize(
    ("timestamps", "words", "segments"), [(Timestamps.WORD, ["Hello."], []), (Timestamps.SEGMENT, [], [" Hello."])]
)
def test_a_chunk_of_one_word_is_what_was_asked_for(
    timestamps: Timestamps, words: list[str], segments: list[str]
) -> None:
    exchange = HF_INFERENCE.transcribe(
        TranscriptionJob(model="m", audio=sample_audio("sb_spk2_snt1.flac"), timestamps=timestamps), deployment()
    )
    next(exchange)
    with pytest.raises(StopIteration) as returned:
        exchange.send(reply(text=" Hello.", chunks=[{"text": " Hello.", "timestamp": [0.0, 0.6]}]))

    heard = returned.value.value
    assert isinstance(heard, Transcript)
    assert [word.text for word in heard.words] == words
    assert [segment.text for segment in heard.segments] == segments


def test_an_open_end_stays_open_for_a_segment_and_closes_a_word() -> None:
    cut = reply(text="So", chunks=[{"text": " So", "timestamp": [2.5, None]}])

    assert hf_inference.parse_reply(cut, Timestamps.SEGMENT).segments[0].end_s is None
    assert hf_inference.parse_reply(cut, Timestamps.WORD).words[0].end_s == 2.5


ANY_TIME = st.none() | st.floats() | st.integers()


@given(start=ANY_TIME, end=ANY_TIME, timestamps=st.sampled_from(Timestamps))
def test_any_times_are_in_order_or_malformed(start: float | None, end: float | None, timestamps: Timestamps) -> None:
    try:
        heard = hf_inference.parse_reply(reply(text="x", chunks=[{"text": "x", "timestamp": [start, end]}]), timestamps)
    except MalformedReply:
        return
    assert all(word.end_s >= word.start_s >= 0 for word in heard.words)
    assert all(segment.end_s is None or segment.end_s >= segment.start_s >= 0 for segment in heard.segments)


def test_a_model_that_loads_says_how_long() -> None:
    loading = hf_inference.classify_error(reply(503, error="Model x is currently loading", estimated_time=20))

    assert isinstance(loading, RateLimited)
    assert loading.retry_after_s == 20.0


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (503, {"error": "no healthy upstream"}, ProviderUnavailable),
        (400, {"error": ["Malformed soundfile", "twice"]}, JobRejected),
        (400, {"error": {"no": "text"}}, JobUnsupported),
        (413, {"error": "Payload Too Large"}, JobUnsupported),
        (504, {}, ProviderUnavailable),
    ],
    ids=str,
)
def test_an_error_is_text_or_a_list_of_texts(status: int, body: dict[str, Any], error: type[Exception]) -> None:
    assert type(hf_inference.classify_error(reply(status, **body))) is error
