"""What is peculiar to fal: three ways in, by size; a schema for each endpoint; labels of its own."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic import SecretStr, ValidationError

from providers.audio.content import MemoryContent
from providers.errors import (
    AttemptTimedOut,
    FateUnknown,
    JobUnsupported,
    MalformedReply,
    ProviderError,
    ProviderUnavailable,
    QuotaExhausted,
)
from providers.exchange import HttpReply, HttpRequest, IfAbandoned, Over, Wait
from providers.fal_ai import FAL_AI, authorize, build_fields
from providers.fal_endpoints import FalOptions
from providers.provider import unread_options
from providers.transport import piece_size
from providers.types import Account, Deployment, Task, Timestamps, Transcript, TranscriptionJob
from tests.conftest import sample_audio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from providers.exchange import Exchange, Step

MB = 1024 * 1024
WHISPER = "fal-ai/whisper"
SCRIBE = "fal-ai/elevenlabs/speech-to-text"
QUEUED = "https://queue.fal.run/fal-ai/whisper/requests/R"
TICKET = {"request_id": "R", "status_url": f"{QUEUED}/status", "response_url": QUEUED, "cancel_url": f"{QUEUED}/cancel"}
ROUTER = "https://router.huggingface.co/fal-ai"


def deployment(native_model: str = WHISPER, key: str = "id:secret", **urls: str) -> Deployment:
    there = Account(name="a", adapter="fal-ai", base_urls={**FAL_AI.base_urls, **urls}, api_key=SecretStr(key))
    return Deployment(account=there, native_model=native_model)


def job(size_bytes: int = 0, **wanted: Any) -> TranscriptionJob:
    audio = sample_audio("slushy.mp3")
    if size_bytes:
        audio = replace(audio, content=MemoryContent(bytes(size_bytes)))
    return TranscriptionJob(model="m", audio=audio, **wanted)


def start(the_job: TranscriptionJob, to: Deployment) -> tuple[Exchange[Transcript], HttpRequest]:
    exchange = FAL_AI.transcribe(the_job, to)
    return exchange, asked(next(exchange))


def asked(step: Step) -> HttpRequest:
    assert isinstance(step, HttpRequest)
    return step


def answer(code: int = 200, /, **body: Any) -> HttpReply:
    return HttpReply(status=code, body=json.dumps(body).encode())


def head(request: HttpRequest) -> str:
    assert isinstance(request.body[0], bytes)
    return request.body[0].decode()


def document(request: HttpRequest) -> dict[str, Any]:
    """Return the JSON around the audio."""
    whole = b"".join(piece for piece in request.body if isinstance(piece, bytes))
    fields: dict[str, Any] = json.loads(whole)
    return fields


# --- three ways in


def test_a_short_utterance_is_one_call_without_the_platforms_own_retries() -> None:
    _, request = start(job(), deployment())

    assert (request.method, request.url) == ("POST", "https://fal.run/fal-ai/whisper")
    assert request.headers["x-fal-no-retry"] == "1"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("slushy.mp3", "audio/mpeg"),
        ("slushy.wav", "audio/x-wav"),
        ("slushy.m4a", "video/mp4"),
        ("slushy.webm", "video/webm"),
    ],
)
def test_the_data_uri_bears_the_name_fal_has_for_the_container(name: str, label: str) -> None:
    """huggingface.js#2230: it refuses audio/wav, audio/webm and audio/mp4."""
    _, request = start(TranscriptionJob(model="m", audio=sample_audio(name)), deployment())

    assert head(request) == f'{{"audio_url": "data:{label};base64,'


def test_a_longer_one_goes_through_the_queue_by_the_urls_it_gives() -> None:
    exchange, request = start(job(3 * MB), deployment())
    assert request.url == "https://queue.fal.run/fal-ai/whisper"

    assert exchange.send(answer(**TICKET)) == IfAbandoned(HttpRequest(method="PUT", url=f"{QUEUED}/cancel"))
    assert exchange.send(None) == Wait(0.5)
    assert asked(exchange.send(None)).url == f"{QUEUED}/status"
    assert exchange.send(answer(202, status="IN_QUEUE", queue_position=3)) == Wait(0.5)
    assert asked(exchange.send(None)).url == f"{QUEUED}/status"
    assert exchange.send(answer(status="COMPLETED")) == Over()
    assert asked(exchange.send(None)).url == QUEUED
    with pytest.raises(StopIteration) as returned:
        exchange.send(answer(text="Good morning."))
    assert returned.value.value == Transcript(text="Good morning.", request_id="R")


def test_polls_grow_to_two_seconds_and_no_further() -> None:
    exchange, _ = start(job(3 * MB), deployment())
    exchange.send(answer(**TICKET))
    waits = []
    step = exchange.send(None)
    for _ in range(9):
        assert isinstance(step, Wait)
        waits.append(step.seconds)
        exchange.send(None)
        step = exchange.send(answer(202, status="IN_PROGRESS"))

    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (0.5, 2.0)


def test_completed_is_not_success() -> None:
    """The failure itself comes with the fetched reply."""
    exchange, _ = start(job(3 * MB), deployment())
    exchange.send(answer(**TICKET))
    exchange.send(None)
    exchange.send(None)
    assert exchange.send(answer(status="COMPLETED", error="x", error_type="runner_disconnected")) == Over()
    exchange.send(None)
    failure = answer(500, detail=[{"loc": ["body"], "msg": "CUDA error", "type": "internal_server_error"}])
    with pytest.raises(JobUnsupported):
        exchange.send(replace(failure, headers={"x-fal-retryable": "false"}))


def test_a_failed_reading_of_the_status_is_forgiven() -> None:
    """The job itself runs on, and is paid for."""
    exchange, _ = start(job(3 * MB), deployment())
    exchange.send(answer(**TICKET))
    exchange.send(None)
    exchange.send(None)
    for pause_s in (0.5, 1.0, 2.0, 4.0):
        assert exchange.send(answer(502)) == Wait(pause_s)
        assert asked(exchange.send(None)).url == f"{QUEUED}/status"
    with pytest.raises(FateUnknown):
        exchange.send(answer(502))


@pytest.mark.parametrize(
    ("header", "error"),
    [("x-fal-error-type", ProviderUnavailable), ("x-fal-request-timeout-type", AttemptTimedOut)],
)
def test_a_failure_of_the_run_is_not_read_again(header: str, error: type[ProviderError]) -> None:
    """The reading went well: it is the run that failed, and 5xx are not billed."""
    exchange, _ = start(job(3 * MB), deployment())
    exchange.send(answer(**TICKET))
    exchange.send(None)
    exchange.send(None)
    exchange.send(answer(status="COMPLETED"))
    exchange.send(None)
    with pytest.raises(error) as caught:
        exchange.send(replace(answer(504, detail="Request timed out"), headers={header: "user"}))
    assert type(caught.value) is error


@pytest.mark.parametrize("size_bytes", [0, 3 * MB])
@pytest.mark.parametrize(("left_s", "told"), [(90.0, "90"), (0.3, "2"), (12.1, "13")])
def test_the_deadline_is_passed_on_as_the_time_to_start_by(size_bytes: int, left_s: float, told: str) -> None:
    """The SDK refuses a second or less."""
    _, request = start(job(size_bytes), deployment())

    assert request.told
    assert request.told(left_s) == {"x-fal-request-timeout": told}


def test_only_a_queued_job_is_one_that_must_not_be_sent_twice() -> None:
    """The call that answers at once bills what it answers."""
    assert start(job(3 * MB), deployment())[1].once
    assert not start(job(), deployment())[1].once


@pytest.mark.parametrize("size_bytes", [0, 3 * MB])
def test_an_empty_account_is_no_rate_limit(size_bytes: int) -> None:
    exchange, _ = start(job(size_bytes), deployment())
    with pytest.raises(QuotaExhausted):
        exchange.send(answer(403, detail="User is locked. Reason: Exhausted balance."))


@pytest.mark.parametrize(
    "ticket",
    [
        {},
        {**TICKET, "status_url": "ftp://queue.fal.run/x"},
        {**TICKET, "cancel_url": 7},
        {**TICKET, "response_url": None},
    ],
)
def test_a_ticket_without_usable_urls_is_malformed(ticket: dict[str, Any]) -> None:
    exchange, _ = start(job(3 * MB), deployment())
    with pytest.raises(MalformedReply):
        exchange.send(answer(**ticket))


def test_a_large_one_is_uploaded_first_with_a_token_of_its_own_and_told_to_expire() -> None:
    the_job = job(9 * MB)
    exchange, request = start(the_job, deployment())
    assert request.url == "https://rest.fal.ai/storage/auth/token?storage_type=fal-cdn-v3"

    upload = asked(exchange.send(answer(token="t0k", token_type="Bearer", base_url="https://v3b.fal.media")))
    assert upload.url == "https://v3.fal.media/files/upload"
    assert upload.anonymous
    assert upload.headers["authorization"] == "Bearer t0k"
    assert json.loads(upload.headers["x-fal-object-lifecycle"]) == {"expiration_duration_seconds": 3600}
    assert (upload.headers["content-type"], upload.headers["x-fal-file-name"]) == ("audio/mpeg", "audio.mp3")
    assert upload.body == (the_job.audio.content,)

    run = asked(exchange.send(answer(access_url="https://v3.fal.media/files/b/x/audio.mp3")))
    assert run.url == "https://queue.fal.run/fal-ai/whisper"
    assert document(run)["audio_url"] == "https://v3.fal.media/files/b/x/audio.mp3"
    assert sum(map(piece_size, run.body)) < 1000


@pytest.mark.parametrize("token", [{}, {"token": ""}, {"token": "a\r\nb"}, {"token": 5}])
def test_a_token_that_no_header_can_carry_is_malformed(token: dict[str, Any]) -> None:
    exchange, _ = start(job(9 * MB), deployment())
    with pytest.raises(MalformedReply):
        exchange.send(answer(**token))


# --- through the Hugging Face router


def test_a_hub_key_is_a_bearer_and_fals_own_is_a_key() -> None:
    request = HttpRequest(method="POST", url="https://fal.run/x")

    assert authorize(request, deployment(key="hf_x").account).headers["authorization"] == "Bearer hf_x"
    assert authorize(request, deployment(key="id:x").account).headers["authorization"] == "Key id:x"
    keyless = replace(deployment().account, api_key=None)
    assert authorize(request, keyless).headers == {}


def test_through_the_router_the_query_tells_the_queue_and_the_urls_are_taken_there() -> None:
    """The replies name queue.fal.run, where a Hub token must not go."""
    exchange, request = start(job(3 * MB), deployment(key="hf_x", api=ROUTER, queue=ROUTER))
    assert request.url == f"{ROUTER}/fal-ai/whisper?_subdomain=queue"
    cancel = exchange.send(answer(**TICKET))
    assert isinstance(cancel, IfAbandoned)
    assert cancel.request.url == f"{ROUTER}/fal-ai/whisper/requests/R/cancel?_subdomain=queue"


def test_the_router_has_no_storage() -> None:
    direct = FAL_AI.capabilities(deployment())
    routed = FAL_AI.capabilities(deployment(api=ROUTER, queue=ROUTER))

    assert direct.max_bytes == 100 * MB
    assert routed.max_bytes == 7.5 * MB
    assert routed.timestamps == direct.timestamps


# --- endpoints


def test_whisper_takes_everything_a_job_can_say() -> None:
    wanted = job(
        task=Task.TRANSLATE, language="pt-BR", prompt="Zoë", timestamps=Timestamps.WORD, diarize=True,
        provider_options={"fal-ai": FalOptions(num_speakers=2, batch_size=8)},
    )  # fmt: skip
    assert build_fields(wanted, WHISPER) == {
        "task": "translate",
        "chunk_level": "word",
        "language": "pt",
        "prompt": "Zoë",
        "diarize": True,
        "num_speakers": 2,
        "batch_size": 8,
    }


def test_diarization_needs_chunks_to_hang_speakers_on() -> None:
    exchange, request = start(job(diarize=True), deployment())
    assert document(request)["chunk_level"] == "segment"
    chunk = {"text": " Hi.", "timestamp": [0.2, 0.1], "speaker": "SPEAKER_01"}
    with pytest.raises(StopIteration) as returned:
        exchange.send(answer(text=" Hi.", chunks=[chunk], inferred_languages=[None, "xx", "de"]))
    heard: Transcript = returned.value.value
    assert [(s.speaker, s.start_s, s.end_s) for s in heard.segments] == [("SPEAKER_01", 0.2, 0.2)]
    assert heard.language == "de"


def test_wizper_is_always_told_the_language_or_to_detect_it() -> None:
    """Left out, it means English."""
    assert build_fields(job(), "fal-ai/wizper")["language"] is None
    assert build_fields(job(language="fr"), "fal-ai/wizper")["language"] == "fr"
    options = {"fal-ai": FalOptions(max_segment_len=10, merge_chunks=False)}
    sent = build_fields(job(provider_options=options), "fal-ai/wizper")
    assert sent == {"task": "transcribe", "language": None, "max_segment_len": 10, "merge_chunks": False}


def test_scribe_is_told_to_leave_out_what_nobody_asked_for() -> None:
    assert build_fields(job(), SCRIBE) == {"diarize": False, "tag_audio_events": False}
    wanted = job(language="eng", diarize=True, provider_options={"fal-ai": FalOptions(tag_audio_events=True)})
    assert build_fields(wanted, SCRIBE) == {"diarize": True, "tag_audio_events": True, "language_code": "eng"}
    terms = job(provider_options={"fal-ai": FalOptions(keyterms=["Zoë"])})
    assert build_fields(terms, f"{SCRIBE}/scribe-v2")["keyterms"] == ["Zoë"]


@pytest.mark.parametrize("native_model", [SCRIBE, WHISPER, "fal-ai/nemotron/asr", "somebody/unheard-of"])
def test_an_option_the_endpoint_does_not_have_is_named_to_planning(native_model: str) -> None:
    asked = job(provider_options={"fal-ai": FalOptions(keyterms=["Zoë"])})

    assert unread_options(asked, "fal-ai", FAL_AI.capabilities(deployment(native_model))) == ["keyterms"]
    assert "keyterms" not in build_fields(asked, native_model)


def test_scribes_speakers_are_on_its_words() -> None:
    exchange, _ = start(job(diarize=True), deployment(SCRIBE))
    word = {"text": "Hi", "type": "word", "start": 0.1, "end": 0.3, "speaker_id": "speaker_1"}
    with pytest.raises(StopIteration) as returned:
        exchange.send(answer(text="Hi", words=[word, {"text": "Oh", "type": "word"}]))
    assert [(w.text, w.speaker) for w in returned.value.value.words] == [("Hi", "speaker_1")]


@pytest.mark.parametrize("native_model", ["fal-ai/nemotron/asr", "somebody/unheard-of"])
def test_an_endpoint_of_text_alone_is_sent_the_audio_alone(native_model: str) -> None:
    assert build_fields(job(language="en", prompt="x", timestamps=Timestamps.WORD), native_model) == {}
    can = FAL_AI.capabilities(deployment(native_model))
    assert (can.timestamps, can.language_hint, can.prompt, can.diarize) == (frozenset(), False, False, False)


@pytest.mark.parametrize("reply", [{"text": "Hi"}, {"output": "Hi", "partial": False}])
def test_a_transcript_is_under_either_name(reply: dict[str, Any]) -> None:
    exchange, _ = start(job(), deployment("somebody/unheard-of"))
    with pytest.raises(StopIteration) as returned:
        exchange.send(answer(**reply))
    assert returned.value.value.text == "Hi"


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"keyterms": ["x" * 51]}, {"audio_url": "http://x"}, {"webhook_url": "http://x"}]
)
def test_options_have_limits_and_no_urls(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FalOptions(**options)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*TICKET, "status", "text", "output", "words", "chunks", "timestamp", "detail", "token"]),
            inner,
        )
    ),
    max_leaves=20,
)


@given(
    replies=st.lists(
        st.tuples(
            st.sampled_from([200, 201, 401, 422, 500, 502]),
            JSON | st.just({**TICKET, "status": "COMPLETED", "token": "t", "access_url": "https://x/y"}),
        ),
        min_size=10,
        max_size=10,
    ),
    size_bytes=st.sampled_from([1, 3 * MB, 9 * MB]),
)
def test_whatever_the_replies_dispatch_sees_a_transcript_or_an_error_it_knows(
    replies: list[tuple[int, Any]], size_bytes: int
) -> None:
    exchange = FAL_AI.transcribe(job(size_bytes, timestamps=Timestamps.WORD), deployment())
    with contextlib.suppress(ProviderError):
        assert isinstance(driven(exchange, iter(replies)), Transcript | None)


def driven(exchange: Exchange[Transcript], replies: Iterator[tuple[int, Any]]) -> Transcript | None:
    """Answer every request with the next reply; None where they are used up before it returns."""
    step = next(exchange)
    try:
        while True:
            if isinstance(step, HttpRequest):
                code, body = next(replies, (None, None))
                if code is None:
                    return None
                step = exchange.send(HttpReply(status=code, body=json.dumps(body).encode()))
            else:
                step = exchange.send(None)
    except StopIteration as returned:
        heard: Transcript = returned.value
        return heard
