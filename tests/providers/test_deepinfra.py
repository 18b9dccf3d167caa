"""What is peculiar to DeepInfra: two forms, the price in the reply, and errors in five shapes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from providers import deepinfra
from providers.deepinfra import DEEPINFRA, DeepInfraOptions
from providers.errors import MalformedReply, ProviderError
from providers.exchange import HttpReply, HttpRequest
from providers.provider import unread_options
from providers.types import Account, Deployment, GenerationParameters, Task, Timestamps, TranscriptionJob
from tests.conftest import sample_audio

WHISPER = "openai/whisper-large-v3"
DIRECT = "https://api.deepinfra.com/v1"
ROUTER = "https://router.huggingface.co/deepinfra"


def deployment(native_model: str = WHISPER, url: str = DIRECT, **options: str) -> Deployment:
    there = Account(
        name="a", adapter="deepinfra", base_urls={"api": url}, api_key=SecretStr("hf_secret"), options=options
    )
    return Deployment(account=there, native_model=native_model)


def job(**wanted: Any) -> TranscriptionJob:
    return TranscriptionJob(model="m", audio=sample_audio("sb_spk2_snt1.flac"), **wanted)


def first_request(to: Deployment, **wanted: Any) -> HttpRequest:
    step = next(DEEPINFRA.transcribe(job(**wanted), to))
    assert isinstance(step, HttpRequest)
    return step


def parts(request: HttpRequest) -> list[tuple[str, str]]:
    """Return the form's text parts, in order."""
    head = request.body[0]
    assert isinstance(head, bytes)
    return re.findall(r'name="([^"]+)"\r\n\r\n(.*?)\r\n--', head.decode(), re.DOTALL)


def reply(status: int = 200, **body: Any) -> HttpReply:
    return HttpReply(status=status, body=json.dumps(body).encode())


def test_everything_asked_for_is_sent_in_the_native_form() -> None:
    request = first_request(
        deployment(),
        task=Task.TRANSLATE,
        language="fr-CA",
        prompt="Zoë's names",
        timestamps=Timestamps.WORD,
        generation=GenerationParameters(temperature=0.25),
        provider_options={"deepinfra": DeepInfraOptions(chunk_length_s=12, version="9f0ab")},
    )

    assert request.url == f"{DIRECT}/inference/openai/whisper-large-v3?version=9f0ab"
    assert dict(parts(request)) == {
        "task": "translate",
        "initial_prompt": "Zoë's names",
        "temperature": "0.25",
        "language": "fr",
        "chunk_level": "word",
        "chunk_length_s": "12",
    }
    assert b'name="audio"; filename="audio.flac"' in bytes(request.body[0])  # type: ignore[arg-type]  # bytes: see parts


def test_nothing_asked_for_sends_the_audio_alone() -> None:
    request = first_request(deployment(), timestamps=Timestamps.SEGMENT)

    assert parts(request) == []
    assert request.url == f"{DIRECT}/inference/openai/whisper-large-v3"


def test_what_a_model_has_no_field_for_is_not_sent() -> None:
    """Voxtral tells no times and reads no prompt."""
    request = first_request(
        deployment("mistralai/Voxtral-Mini-3B-2507"), prompt="names", timestamps=Timestamps.WORD, language="de"
    )

    assert parts(request) == [("language", "de")]


@pytest.mark.parametrize(
    ("to", "url"),
    [
        (deployment(url=ROUTER), f"{ROUTER}/v1/openai/audio/transcriptions"),
        (deployment(url=f"{ROUTER}/v1"), f"{ROUTER}/v1/openai/audio/transcriptions"),
        (deployment(form="openai"), f"{DIRECT}/openai/audio/transcriptions"),
    ],
    ids=["router", "router-v1", "option"],
)
def test_the_openai_form_where_the_account_speaks_it(to: Deployment, url: str) -> None:
    """Granularities go without brackets: so the published document names the part."""
    request = first_request(to, timestamps=Timestamps.WORD, language="en", prompt="p")

    assert request.url == url
    assert parts(request) == [
        ("model", WHISPER),
        ("response_format", "verbose_json"),
        ("language", "en"),
        ("prompt", "p"),
        ("timestamp_granularities", "segment"),
        ("timestamp_granularities", "word"),
    ]


def test_the_openai_form_translates_by_its_route() -> None:
    request = first_request(deployment(form="openai"), task=Task.TRANSLATE)

    assert request.url == f"{DIRECT}/openai/audio/translations"


def test_an_option_the_openai_form_lacks_is_named_to_planning() -> None:
    options = {"deepinfra": DeepInfraOptions(chunk_length_s=5)}
    there = deployment(url=ROUTER)

    can = DEEPINFRA.capabilities(there)
    assert unread_options(job(provider_options=options), "deepinfra", can) == ["chunk_length_s"]
    assert "chunk_length_s" not in dict(parts(first_request(there, provider_options=options)))


def test_a_reply_in_the_openai_form_is_read_as_such() -> None:
    exchange = DEEPINFRA.transcribe(job(), deployment(form="openai"))
    next(exchange)
    with pytest.raises(StopIteration) as returned:
        exchange.send(reply(text=" hi", words=[{"word": "hi", "start": 0, "end": 0.5}]))

    assert returned.value.value.text == "hi"
    assert [word.end_s for word in returned.value.value.words] == [0.5]


def test_only_the_large_model_translates_and_the_router_never() -> None:
    def tasks(to: Deployment) -> frozenset[Task]:
        return DEEPINFRA.capabilities(to).tasks

    assert tasks(deployment()) == frozenset(Task)
    assert tasks(deployment("openai/whisper-large-v3-turbo")) == {Task.TRANSCRIBE}
    assert tasks(deployment(url=ROUTER)) == {Task.TRANSCRIBE}


def test_a_distilled_model_hears_english_only() -> None:
    assert DEEPINFRA.capabilities(deployment("distil-whisper/distil-large-v3")).languages == frozenset({"en"})


@pytest.mark.parametrize(
    "refused",
    [{"chunk_length_s": 0}, {"chunk_length_s": 31}, {"webhook": "https://x.example"}, {"version": "../x?y"}],
    ids=lambda value: next(iter(value)),
)
def test_options_out_of_range_or_not_listed_are_refused(refused: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DeepInfraOptions(**refused)


def test_the_length_counts_in_milliseconds_where_there_is_no_duration() -> None:
    assert deepinfra.parse_reply(reply(text="", input_length_ms=1500)).duration_s == 1.5
    assert deepinfra.parse_reply(reply(text="", input_length_ms=-1)).duration_s is None


def test_a_price_below_zero_is_none() -> None:
    assert deepinfra.parse_reply(reply(text="", inference_status={"cost": -1})).cost_usd is None


@given(
    status=st.none() | st.text(max_size=9) | st.integers(),
    cost=st.none() | st.floats() | st.text(max_size=9),
    text=st.none() | st.text(),
)
def test_whatever_the_status_says_it_is_a_transcript_or_an_error(status: Any, cost: Any, text: Any) -> None:
    try:
        heard = deepinfra.parse_reply(reply(text=text, inference_status={"status": status, "cost": cost}))
    except ProviderError:
        return
    assert status == "succeeded"
    assert heard.text == text.strip()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": "one"}, "one"),
        ({"error": {"message": "two"}}, "two"),
        ({"detail": "three"}, "three"),
        ({"detail": {"error": "four"}}, "four"),
        ({"detail": {"message": "five"}}, "five"),
        ({"error": "", "detail": {"error": "six", "message": "seven"}}, "six"),
        ({"error": {"message": "eight"}, "detail": "nine"}, "eight"),
        ({"detail": [{"loc": ["body", "audio"], "msg": "Field required"}]}, ""),
        ({}, ""),
    ],
)
def test_an_error_is_read_in_the_order_of_its_own_sdk(body: dict[str, Any], said: str) -> None:
    assert deepinfra.read_error(reply(400, **body)) == said


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'"text"', b"\xff", b"[" * 100_000])
def test_an_error_that_is_no_json_object_says_nothing(body: bytes) -> None:
    assert deepinfra.read_error(HttpReply(status=500, body=body)) == ""


def test_a_model_that_is_starting_is_worth_waiting_for() -> None:
    starting = deepinfra.classify_error(reply(423, error="locked"))

    assert (starting.retryable, starting.failover) == (True, True)


def test_a_200_that_is_not_done_is_not_believed() -> None:
    with pytest.raises(MalformedReply, match="not done"):
        deepinfra.parse_reply(reply(text="early", inference_status={"status": "running"}))
