"""What is peculiar to Replicate: runs that take their time, names of its own, failures behind a 2xx."""

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
from providers.errands import Errands
from providers.errors import (
    AttemptTimedOut,
    FateUnknown,
    JobUnsupported,
    MalformedReply,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
)
from providers.exchange import TRANSIENT, Afterwards, HttpReply, HttpRequest, IfAbandoned, Over, Wait, run
from providers.provider import unread_options
from providers.replicate import REPLICATE, ReplicateOptions, build_inputs, classify_error
from providers.types import (
    Account,
    Deployment,
    GenerationParameters,
    Moment,
    Task,
    Timestamps,
    Transcript,
    TranscriptionJob,
)
from tests.conftest import sample_audio

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from providers.exchange import Exchange, Step

LATER = Moment(1e9)
API = "https://api.replicate.com/v1"
WHISPER = f"openai/whisper:{'a' * 64}"
FAST = f"vaibhavs10/incredibly-fast-whisper:{'b' * 64}"
DIARIZATION = f"thomasmol/whisper-diarization:{'c' * 64}"
WHISPERX = f"victor-upmeet/whisperx:{'d' * 64}"
GPT = "openai/gpt-4o-transcribe"
RUN = f"{API}/predictions/p1"
URLS = {"get": RUN, "cancel": f"{RUN}/cancel"}


def deployment(native_model: str = WHISPER) -> Deployment:
    there = Account(name="a", adapter="replicate", base_urls=REPLICATE.base_urls, api_key=SecretStr("r8_x"))
    return Deployment(account=there, native_model=native_model)


def job(size_bytes: int = 0, **wanted: Any) -> TranscriptionJob:
    audio = sample_audio("slushy.mp3")
    if size_bytes:
        audio = replace(audio, content=MemoryContent(bytes(size_bytes)))
    return TranscriptionJob(model="m", audio=audio, **wanted)


def start(the_job: TranscriptionJob, native_model: str = WHISPER) -> tuple[Exchange[Transcript], HttpRequest]:
    exchange = REPLICATE.transcribe(the_job, deployment(native_model))
    return exchange, asked(next(exchange))


def asked(step: Step) -> HttpRequest:
    assert isinstance(step, HttpRequest)
    return step


def answer(code: int = 200, /, **body: Any) -> HttpReply:
    return HttpReply(status=code, body=json.dumps(body).encode())


def document(request: HttpRequest) -> dict[str, Any]:
    """Return the JSON around the audio."""
    whole = b"".join(piece for piece in request.body if isinstance(piece, bytes))
    fields: dict[str, Any] = json.loads(whole)
    return fields


def heard(output: Any, native_model: str = WHISPER, **wanted: Any) -> Transcript:
    exchange, _ = start(job(**wanted), native_model)
    with pytest.raises(StopIteration) as returned:
        exchange.send(answer(201, id="p1", status="succeeded", output=output))
    transcript: Transcript = returned.value.value
    return transcript


# --- the way of a run


def test_a_version_has_one_route_and_an_official_model_its_own() -> None:
    _, version = start(job(), WHISPER)
    _, official = start(job(), GPT)

    assert (version.url, document(version)["version"]) == (f"{API}/predictions", WHISPER)
    assert official.url == f"{API}/models/openai/gpt-4o-transcribe/predictions"
    assert "version" not in document(official)


def test_a_short_utterance_is_waited_for_in_the_create_but_not_long() -> None:
    """Until that is answered there is no id, and so no way to cancel."""
    assert told(job(), left_s=60.0)["prefer"] == "wait=5"
    assert told(job(), left_s=3.5)["prefer"] == "wait=2"
    assert "prefer" not in told(job(), left_s=1.9)


@pytest.mark.parametrize("size_bytes", [0, 300_000])
@pytest.mark.parametrize(("left_s", "after"), [(90.0, "90s"), (61.2, "62s"), (1.0, "5s")])
def test_a_run_ends_there_with_our_time_even_if_nobody_can_cancel_it(
    size_bytes: int, left_s: float, after: str
) -> None:
    """Replicate lets no deadline be shorter than five seconds."""
    assert told(job(size_bytes), left_s)["cancel-after"] == after


def told(the_job: TranscriptionJob, left_s: float) -> Mapping[str, str]:
    """Return what the create is told of the time."""
    create = first_create(the_job)
    assert create.told
    return create.told(left_s)


def first_create(the_job: TranscriptionJob) -> HttpRequest:
    exchange, request = start(the_job)
    if request.url != f"{API}/files":
        return request
    exchange.send(answer(201, id="f", urls={"get": f"{API}/files/f"}))
    return asked(exchange.send(None))


@pytest.mark.parametrize("size_bytes", [0, 300_000])
def test_a_create_must_not_be_sent_twice(size_bytes: int) -> None:
    assert first_create(job(size_bytes)).once


def test_a_run_is_asked_after_until_it_is_over() -> None:
    exchange, _ = start(job())
    started = answer(201, id="p1", status="starting", output=None, urls=URLS)

    assert exchange.send(started) == IfAbandoned(HttpRequest(method="POST", url=f"{RUN}/cancel"))
    waits = []
    step = exchange.send(None)
    for _ in range(8):
        assert isinstance(step, Wait)
        waits.append(step.seconds)
        assert asked(exchange.send(None)).url == RUN
        step = exchange.send(answer(id="p1", status="processing", output=None, urls=URLS))
    exchange.send(None)
    assert exchange.send(answer(id="p1", status="succeeded", output={"transcription": " Hi."})) == Over()
    with pytest.raises(StopIteration) as returned:
        exchange.send(None)

    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (0.5, 2.0)
    assert returned.value.value == Transcript(text="Hi.", request_id="p1")


def test_an_output_beside_processing_is_believed_one_question_later() -> None:
    exchange, _ = start(job())
    exchange.send(answer(201, id="p1", status="processing", output={"transcription": " H"}, urls=URLS))
    assert exchange.send(None) == Wait(0.1)
    assert asked(exchange.send(None)).url == RUN
    exchange.send(answer(id="p1", status="succeeded", output={"transcription": " Hi."}))
    with pytest.raises(StopIteration) as returned:
        exchange.send(None)
    assert returned.value.value.text == "Hi."


def test_a_large_file_is_uploaded_named_by_its_url_and_deleted_afterwards() -> None:
    exchange, upload = start(job(300_000))
    assert upload.url == f"{API}/files"
    assert isinstance(upload.body[0], bytes)
    assert b'name="content"; filename="audio.mp3"\r\nContent-Type: audio/mpeg' in upload.body[0]

    deletion = exchange.send(answer(201, id="f/1", urls={"get": f"{API}/files/f1"}))
    assert deletion == Afterwards(HttpRequest(method="DELETE", url=f"{API}/files/f%2F1"), TRANSIENT)
    create = asked(exchange.send(None))
    assert document(create) == {"version": WHISPER, "input": {"audio": f"{API}/files/f1"}}
    assert create.told
    assert "prefer" not in create.told(60.0)  # the id at once, for a run that will be long


async def test_a_run_whose_state_could_not_be_read_for_the_network_is_cancelled() -> None:
    """It runs on over there, and the next attempt would be the second one that is billed."""
    sent, errands = [], Errands()

    async def send(request: HttpRequest, _: Moment) -> HttpReply:
        sent.append((request.method, request.url))
        if request.url == RUN:
            raise ProviderUnavailable("replicate", "the connection was cut")
        return answer(201, id="p1", status="starting", output=None, urls=URLS)

    async def sleep(_: float) -> None:
        """Take no time."""

    exchange = REPLICATE.transcribe(job(), deployment())
    with pytest.raises(FateUnknown):
        await run(exchange, send, provider="replicate", deadline=LATER, clock=lambda: 0.0, errands=errands, sleep=sleep)
    await errands.close()
    assert sent == [("POST", f"{API}/predictions"), *[("GET", RUN)] * 5, ("POST", f"{RUN}/cancel")]


@pytest.mark.parametrize(
    "stored", [{}, {"id": "f"}, {"id": "", "urls": {"get": "https://x/y"}}, {"id": "f", "urls": {}}]
)
def test_an_upload_that_is_nowhere_is_malformed(stored: dict[str, Any]) -> None:
    exchange, _ = start(job(300_000))
    with pytest.raises(MalformedReply):
        exchange.send(answer(201, **stored))


# --- inputs


def test_whisper_has_its_own_names() -> None:
    options = ReplicateOptions(patience=2.0, suppress_tokens="-1", condition_on_previous_text=False)
    wanted = job(
        task=Task.TRANSLATE,
        language="pt-BR",
        prompt="Zoë",
        generation=GenerationParameters(temperature=0.2, top_k=5),
        provider_options={"replicate": options},
    )
    assert build_inputs(wanted, WHISPER) == {
        "translate": True,
        "language": "pt",
        "initial_prompt": "Zoë",
        "temperature": 0.2,
        "patience": 2.0,
        "suppress_tokens": "-1",
        "condition_on_previous_text": False,
    }


@pytest.mark.parametrize(("language", "name"), [(None, "None"), ("pt-BR", "portuguese"), ("ht", "haitian creole")])
def test_the_fast_whisper_wants_a_name_or_the_word_none(language: str | None, name: str) -> None:
    options = {"replicate": ReplicateOptions(batch_size=8)}
    inputs = build_inputs(job(language=language, timestamps=Timestamps.WORD, provider_options=options), FAST)
    assert inputs == {"task": "transcribe", "timestamp": "word", "language": name, "batch_size": 8}


@pytest.mark.parametrize(
    ("native_model", "expected"),
    [
        (GPT, {"audio_file", "language", "prompt", "temperature"}),
        ("openai/gpt-4o-mini-transcribe", {"audio_file", "language", "prompt", "temperature"}),
        (DIARIZATION, {"file", "language", "prompt", "num_speakers", "group_segments"}),
        (WHISPERX, {"audio_file", "language", "initial_prompt", "temperature", "align_output", "vad_onset"}),
        ("somebody/unheard-of", {"audio"}),
    ],
)
def test_each_model_is_sent_what_its_schema_has(native_model: str, expected: set[str]) -> None:
    given: dict[str, Any] = {"num_speakers": 2, "group_segments": False, "vad_onset": 0.4}
    options = {"replicate": ReplicateOptions(**{name: given[name] for name in given.keys() & expected})}
    wanted = job(
        language="de",
        prompt="Zoë",
        timestamps=Timestamps.WORD,
        generation=GenerationParameters(temperature=0.2),
        provider_options=options,
    )
    _, request = start(wanted, native_model)
    assert set(document(request)["input"]) == expected


def test_an_option_the_model_does_not_have_is_named_to_planning() -> None:
    asked = job(provider_options={"replicate": ReplicateOptions(num_speakers=2)})

    assert unread_options(asked, "replicate", REPLICATE.capabilities(deployment(GPT))) == ["num_speakers"]
    assert "num_speakers" not in build_inputs(asked, GPT)


@pytest.mark.parametrize(
    ("native_model", "timestamps", "diarizes"),
    [
        (WHISPER, {Timestamps.SEGMENT}, False),
        (FAST, {Timestamps.SEGMENT, Timestamps.WORD}, False),
        (GPT, set(), False),
        (DIARIZATION, {Timestamps.SEGMENT, Timestamps.WORD}, True),
        (WHISPERX, {Timestamps.SEGMENT, Timestamps.WORD}, False),  # with a token among the inputs it would
        ("somebody/unheard-of", set(), False),
    ],
)
def test_abilities_are_a_models_whatever_its_version(
    native_model: str, timestamps: set[Timestamps], *, diarizes: bool
) -> None:
    can = REPLICATE.capabilities(deployment(native_model))
    assert (set(can.timestamps), can.diarize) == (timestamps, diarizes)


@pytest.mark.parametrize(
    "options",
    [{"suppress_tokens": "x"}, {"patience": 0}, {"hf_token": "x"}, {"webhook": "http://x"}, {"audio": "http://x"}],
)
def test_options_have_limits_no_urls_and_no_secrets(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ReplicateOptions(**options)


# --- outputs

SPAN = {
    "start": 0.5, "end": 1.6, "text": " Hi, you.", "speaker": "SPEAKER_01",
    "words": [
        {"word": " Hi,", "start": 0.5, "end": 0.9, "probability": 0.75},
        {"word": " 2024"},
        {"word": " you.", "start": 0.9, "end": 0.8, "score": 7, "speaker": "SPEAKER_02"},
    ],
}  # fmt: skip


def test_speakers_come_with_the_segments_and_words_of_a_diarization() -> None:
    got = heard({"segments": [SPAN], "language": "en"}, DIARIZATION, timestamps=Timestamps.WORD, diarize=True)

    assert got.text == "Hi, you."
    assert [(s.text, s.start_s, s.end_s, s.speaker) for s in got.segments] == [(" Hi, you.", 0.5, 1.6, "SPEAKER_01")]
    assert [(w.text, w.start_s, w.end_s, w.speaker, w.confidence) for w in got.words] == [
        ("Hi,", 0.5, 0.9, "SPEAKER_01", 0.75),
        ("you.", 0.9, 0.9, "SPEAKER_02", None),
    ]


def test_what_nobody_asked_for_is_left_out() -> None:
    got = heard({"segments": [SPAN], "language": "en"}, DIARIZATION)
    assert (got.text, got.segments, got.words) == ("Hi, you.", (), ())
    assert [s.speaker for s in heard({"segments": [SPAN]}, DIARIZATION, timestamps=Timestamps.SEGMENT).segments] == [
        None
    ]


def test_the_fast_whispers_open_end_stays_open() -> None:
    chunks = [{"text": " Hi.", "timestamp": [None, None]}, {"text": " Oh.", "timestamp": [0.5, None]}]
    got = heard({"text": " Hi. Oh.", "chunks": chunks}, FAST, timestamps=Timestamps.SEGMENT)
    assert [(s.start_s, s.end_s) for s in got.segments] == [(0.0, None), (0.5, None)]


def test_a_version_is_reported_unless_it_is_hidden() -> None:
    exchange, _ = start(job())
    with pytest.raises(StopIteration) as returned:
        exchange.send(answer(201, id="p1", status="succeeded", output="Hi", version="f" * 64))
    assert returned.value.value.model_version == "f" * 64


@pytest.mark.parametrize("output", ["https://replicate.delivery/x.txt", ["https://replicate.", "delivery/x.txt"], {}])
def test_a_file_is_not_fetched(output: Any) -> None:
    exchange, _ = start(job())
    with pytest.raises(MalformedReply):
        exchange.send(answer(201, id="p1", status="succeeded", output=output))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("Failed to load audio: ffmpeg version 5.1.6", JobUnsupported),
        ("Soundfile is either not in the correct format or is malformed.", JobUnsupported),
        ("The audio file could not be decoded or its format is not supported.", JobUnsupported),
        ("Error code: 400 - Audio file might be corrupted or unsupported", JobUnsupported),
        ("CUDA out of memory", ProviderUnavailable),
        (None, ProviderUnavailable),
        ({"message": "malformed"}, ProviderUnavailable),
    ],
)
def test_a_failed_run_is_about_the_audio_where_it_says_so(error: Any, kind: type[ProviderError]) -> None:
    exchange, _ = start(job())
    with pytest.raises(kind):
        exchange.send(answer(201, id="p1", status="failed", error=error, output=None))


# --- errors


@pytest.mark.parametrize(
    ("detail", "header", "after_s"),
    [
        ("Request was throttled. Your rate limit resets in ~30s.", None, 30.0),
        ("Request was throttled. Your rate limit resets in ~1.5s.", None, 1.5),
        ("Request was throttled. Your rate limit resets in ~30s.", "2", 2.0),
        ("Request was throttled.", None, None),
    ],
)
def test_when_to_come_back_stands_in_a_header_or_a_sentence(detail: str, header: str | None, after_s: float) -> None:
    reply = replace(answer(429, detail=detail), headers={"retry-after": header} if header else {})
    limited = classify_error(reply)
    assert isinstance(limited, RateLimited)
    assert limited.retry_after_s == after_s


def test_a_create_that_failed_says_that_it_may_be_billed() -> None:
    exchange, _ = start(job())
    with pytest.raises(FateUnknown, match="may have started"):
        exchange.send(answer(502))


@pytest.mark.parametrize("status", ["aborted", "canceled"])
def test_a_run_that_was_stopped_at_its_deadline_ran_out_of_time(status: str) -> None:
    exchange, _ = start(job())
    with pytest.raises(AttemptTimedOut, match=f"{status} there"):
        exchange.send(answer(201, id="p1", status=status, error=None, output=None))


def test_a_missing_model_says_what_a_communitys_model_needs() -> None:
    exchange, _ = start(job(), "openai/whisper")
    with pytest.raises(JobUnsupported, match="owner/name:version"):
        exchange.send(answer(404, detail="The requested resource could not be found."))


KEYS = "id status output urls get cancel error text segments chunks words start timestamp detail"
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS.split()), inner),
    max_leaves=20,
)


@given(
    replies=st.lists(
        st.tuples(
            st.sampled_from([200, 201, 401, 422, 500, 502]),
            JSON
            | st.fixed_dictionaries(
                {
                    "id": st.just("p"),
                    "urls": st.just(URLS),
                    "status": st.sampled_from(["starting", "processing", "succeeded", "failed"]),
                    "output": JSON,
                    "error": JSON,
                }
            ),
        ),
        min_size=10,
        max_size=10,
    ),
    size_bytes=st.sampled_from([1, 300_000]),
)
def test_whatever_the_replies_dispatch_sees_a_transcript_or_an_error_it_knows(
    replies: list[tuple[int, Any]], size_bytes: int
) -> None:
    exchange = REPLICATE.transcribe(job(size_bytes, timestamps=Timestamps.WORD), deployment())
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
        transcript: Transcript = returned.value
        return transcript
