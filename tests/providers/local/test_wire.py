"""What goes to the engine's process arrives as it was sent, and back; anything else is an error dispatch knows."""

from __future__ import annotations

import contextlib
from dataclasses import fields

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.audio.content import MemoryContent
from providers.errors import (
    AttemptTimedOut,
    CredentialsRejected,
    FateUnknown,
    JobRejected,
    JobUnsupported,
    MalformedReply,
    ProviderError,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    ReplyCutOff,
    Temporary,
)
from providers.exchange import HttpReply
from providers.local.wire import (
    JOB_BYTES,
    MAX_JOB_BYTES,
    REFUSED,
    TIME_LEFT,
    Model,
    Refusal,
    Written,
    build_request,
    classify_error,
    decoded,
    parse_reply,
    refusal,
    written,
)
from providers.types import (
    Account,
    Audio,
    Capabilities,
    Container,
    Deployment,
    GenerationParameters,
    Segment,
    Task,
    Timestamps,
    Transcript,
    TranscriptionJob,
    Word,
)

TO = Deployment(
    account=Account(name="local", adapter="local", base_urls={"api": "http://engine"}), native_model="a/b ?&c"
)
CONTENT = MemoryContent(b"RIFF")

texts = st.text(max_size=40)
times_s = st.floats(0, 1e6)
words = st.builds(
    Word,
    text=texts,
    start_s=times_s,
    end_s=times_s,
    speaker=st.none() | texts,
    confidence=st.none() | st.floats(0, 1),
)
segments = st.builds(
    Segment,
    text=texts,
    start_s=times_s,
    end_s=st.none() | times_s,
    speaker=st.none() | texts,
    confidence=st.none() | st.floats(0, 1),
)
transcripts = st.builds(
    Transcript,
    text=texts,
    segments=st.lists(segments, max_size=3).map(tuple),
    words=st.lists(words, max_size=3).map(tuple),
    language=st.none() | texts,
    duration_s=st.none() | times_s,
    model_version=st.none() | texts,
    cost_usd=st.none() | times_s,
    request_id=st.none() | texts,
)
generation = st.builds(
    GenerationParameters,
    temperature=st.none() | st.floats(0, 2),
    top_k=st.none() | st.integers(0, 1000),
    do_sample=st.none() | st.booleans(),
    early_stopping=st.none() | st.booleans() | st.just("never"),
    num_beams=st.none() | st.integers(1, 16),
)
# Not built by their types: hypothesis would look up annotations of which some are there for type checkers alone.
audios = st.fixed_dictionaries(
    {
        "content": st.just(CONTENT),
        "media_type": texts,
        "container": st.none() | st.sampled_from(Container),
        "duration_s": st.none() | times_s,
        "digest": texts,
    }
).map(lambda given: Audio(**given))  # type: ignore[arg-type] # fields of many types
jobs = st.fixed_dictionaries(
    {
        "model": texts,
        "audio": audios,
        "task": st.sampled_from(Task),
        "language": st.none() | texts,
        "prompt": st.none() | texts,
        "timestamps": st.sampled_from(Timestamps),
        "generation": generation,
        "diarize": st.booleans(),
    }
).map(lambda given: TranscriptionJob(**given))
capabilities = st.builds(
    Capabilities,
    generation=st.frozensets(texts, max_size=3),
    timestamps=st.frozensets(st.sampled_from(Timestamps)),
    tasks=st.frozensets(st.sampled_from(Task)),
    languages=st.none() | st.frozensets(texts, max_size=3),
    containers=st.none() | st.frozensets(st.sampled_from(Container)),
    max_duration_s=st.none() | times_s,
    retires_on=st.none() | st.dates(),
)
reasons = st.text(max_size=40)
after_s = st.none() | times_s
permanent = st.builds(
    lambda kind, reason: kind("local", reason),
    st.sampled_from([JobRejected, JobUnsupported, AttemptTimedOut, MalformedReply]),
    reasons,
)
temporary = st.builds(
    lambda kind, reason, after_s: kind("local", reason, retry_after_s=after_s),
    st.sampled_from([RateLimited, ProviderUnavailable]),
    reasons,
    after_s,
)
broken = st.binary(max_size=80) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
).map(msgspec.json.encode)


def told(error: ProviderError) -> ProviderError:
    """Return an error as it arrives on the other side."""
    return classify_error(HttpReply(status=REFUSED, body=msgspec.json.encode(refusal(error))))


@given(jobs)
def test_a_job_arrives_whole(job: TranscriptionJob) -> None:
    assert msgspec.json.decode(written(job), type=Written).read(CONTENT) == job


def test_no_field_of_a_job_stays_behind() -> None:
    """One that is added later must be added here. Options for providers mean nothing to a local model."""
    names = set(TranscriptionJob.__struct_fields__) | set(Audio.__struct_fields__)
    assert {each.name for each in fields(Written)} == names - {"audio", "content", "provider_options"}


def test_the_largest_job_that_a_front_lets_through_fits() -> None:
    """A prompt has 8,000 characters at most; JSON writes one as six or twelve bytes at worst."""
    audio = Audio(content=CONTENT, media_type="audio/wav", container=None, duration_s=None, digest="0" * 64)
    assert len(written(TranscriptionJob(model="m" * 8000, audio=audio, prompt="\x00" * 8000))) < MAX_JOB_BYTES // 8


@given(jobs, st.floats(0, 1e5))
def test_a_request_says_where_the_job_ends_and_how_long_anybody_waits(job: TranscriptionJob, left_s: float) -> None:
    """The audio follows as it is, never joined to the job; the model's name is one part of the query."""
    request = build_request(job, TO)
    head, content = request.body
    assert head == written(job)
    assert content is CONTENT
    assert request.headers[JOB_BYTES] == str(len(head))
    assert request.url == "http://engine/transcribe?model=a%2Fb%20%3F%26c"
    assert request.told is not None
    assert float(request.told(left_s)[TIME_LEFT]) == pytest.approx(left_s, abs=0.001)


@given(transcripts)
def test_a_transcript_comes_back_whole(heard: Transcript) -> None:
    assert parse_reply(HttpReply(status=200, body=msgspec.json.encode(heard))) == heard


@given(capabilities, st.none() | texts)
def test_what_a_model_can_do_comes_back_whole(can: Capabilities, missing: str | None) -> None:
    for model in (Model(capabilities=can, missing=missing), Model(capabilities=None, missing=missing)):
        assert decoded(msgspec.json.encode(model), Model) == model


@given(permanent | temporary)
def test_an_error_comes_back_as_it_was_raised(error: ProviderError) -> None:
    back = told(error)
    assert (type(back), back.reason, back.provider) == (type(error), error.reason, "local")
    if isinstance(error, Temporary):
        assert isinstance(back, Temporary)
        assert back.retry_after_s == error.retry_after_s


@pytest.mark.parametrize(
    ("error", "nearest"),
    [
        (FateUnknown("local", "x", retry_after_s=3), ProviderUnavailable),
        (ReplyCutOff("local", "x"), MalformedReply),
        # No local model raises these; nothing of them would be true of it.
        (CredentialsRejected("local", "x"), ProviderUnavailable),
        (QuotaExhausted("local", "x"), ProviderUnavailable),
        (ProviderError("local", "x"), ProviderUnavailable),
    ],
)
def test_an_error_that_the_wire_does_not_know_comes_back_as_the_nearest(
    error: ProviderError, nearest: type[ProviderError]
) -> None:
    assert type(told(error)) is nearest
    assert told(error).reason == "x"


def test_a_kind_of_another_version_is_one_to_try_again() -> None:
    """A name, not a class: nothing that stands on the wire chooses what is made here."""
    for kind in ("Novel", "SystemExit", "ProviderError", "__class__", ""):
        body = msgspec.json.encode(Refusal(kind=kind, reason="x", retry_after_s=2))
        back = classify_error(HttpReply(status=REFUSED, body=body))
        assert isinstance(back, ProviderUnavailable)
        assert back.retry_after_s == 2


@pytest.mark.parametrize("status", [400, 404, 413, 500, 502, 503])
def test_a_status_that_is_no_refusal_comes_from_an_engine_that_is_not_up(status: int) -> None:
    error = classify_error(HttpReply(status=status, body=b"<html>"))
    assert isinstance(error, ProviderUnavailable)
    assert str(status) in error.reason


@given(broken)
def test_any_answer_is_a_transcript_or_malformed(body: bytes) -> None:
    """However broken, dispatch sees one error it knows."""
    with contextlib.suppress(MalformedReply):
        assert isinstance(parse_reply(HttpReply(status=200, body=body)), Transcript)


@given(broken)
def test_any_refusal_is_an_error_that_dispatch_knows(body: bytes) -> None:
    with contextlib.suppress(MalformedReply):
        assert isinstance(classify_error(HttpReply(status=REFUSED, body=body)), ProviderError)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{",
        b'{"text":1}',
        b'{"text":"a"} more',
        b'{"text":"\xff"}',
        b'{"text":"\\ud800"}',
        b'{"text":"a","segments":' + b"[" * 200_000,
        b'{"text":"a","x":' + b'{"x":' * 200_000,
        b'{"text":"a","words":[{"text":"a","start_s":0}]}',
        b'{"text":"a","duration_s":NaN}',
    ],
)
def test_what_is_no_transcript_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedReply):
        parse_reply(HttpReply(status=200, body=body))
