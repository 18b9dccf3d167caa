"""Every registered provider through the same cases: its recorded replies, and its emulator over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic import SecretStr

from providers import errors
from providers.audio.content import MemoryContent
from providers.exchange import Afterwards, HttpReply, HttpRequest, IfAbandoned, Over, Wait
from providers.registry import PROVIDERS, emulated_options, emulated_urls, module_of
from providers.transport import HttpProvider, new_session
from providers.types import Account, Deployment, Moment, Timestamps, Transcript, TranscriptionJob
from tests.conftest import KEY, sample, sample_audio
from tests.faulty import Faulty, faulty

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.emulators.ear import LocalEar
    from providers.provider import Provider

FIXTURES = Path(__file__).parents[1] / "fixtures"
REQUIRED = ("words", "silence", "400", "401", "429", "500", "cut_off")
NAMES = sorted(PROVIDERS)


def recordings(name: str) -> dict[str, Path]:
    """Return a provider's replies by name: its own, and those that all rows of its module's table have in common."""
    folders = (FIXTURES / module_of(name), FIXTURES / name)
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.json"))}


def recorded(name: str, path: Path) -> dict[str, Any]:
    """Read a recording. One in common names no model: it is of that of the provider's own words."""
    case: dict[str, Any] = json.loads(path.read_text())
    return {"native_model": native_model(name), **case}


def native_model(name: str) -> str:
    """Return the model that a provider was heard to write words with."""
    words = json.loads((FIXTURES / name / "words.json").read_text())
    return str(words["native_model"])


CASES = [(name, path) for name in NAMES for path in recordings(name).values()]


def account(provider: Provider, url: str = "https://provider.example") -> Account:
    urls = dict.fromkeys(("api", *provider.base_urls), url)
    options = emulated_options(provider.name)
    return Account(name="a", adapter=provider.name, base_urls=urls, api_key=SecretStr(KEY), options=options)


def deployment(provider: Provider, native_model: str, url: str = "https://provider.example") -> Deployment:
    return Deployment(account=account(provider, url), native_model=native_model)


def converse(provider: Provider, case: dict[str, Any], sent: list[HttpRequest] | None = None) -> Transcript:
    """Drive the adapter by hand with the recorded replies, in order. size_bytes: of audio that takes another way.

    sent: takes the requests.
    """
    sent = [] if sent is None else sent
    audio = sample_audio("sb_spk2_snt1.flac")
    if "size_bytes" in case:
        audio = replace(audio, content=MemoryContent(bytes(case["size_bytes"])))
    job = TranscriptionJob(
        model="m",
        audio=audio,
        timestamps=Timestamps(case.get("timestamps", "none")),
        diarize=case.get("diarize", False),
    )
    exchange = provider.transcribe(job, deployment(provider, case["native_model"]))
    replies = iter(case["replies"])
    answer: HttpReply | None = None
    step = next(exchange)
    for _ in range(50):
        match step:
            case HttpRequest():
                sent.append(step)
                recorded = next(replies)
                body = recorded["text"] if "text" in recorded else json.dumps(recorded.get("json"))
                headers = {name.lower(): value for name, value in recorded.get("headers", {}).items()}
                answer = HttpReply(status=recorded["status"], headers=headers, body=body.encode())
            case Wait() | IfAbandoned() | Over() | Afterwards():
                answer = None
        try:
            step = exchange.send(answer)
        except StopIteration as returned:
            heard: Transcript = returned.value
            return heard
    raise AssertionError("the adapter asks for ever")


@pytest.mark.parametrize("name", NAMES)
def test_has_a_recording_of_everything_that_happens(name: str) -> None:
    assert recordings(name).keys() >= set(REQUIRED)


@pytest.mark.parametrize(("name", "path"), CASES, ids=lambda value: getattr(value, "stem", value))
def test_recorded_reply_is_read_as_expected(name: str, path: Path) -> None:
    case = recorded(name, path)
    assert case["source"], "a recording says where it comes from"
    expected = case["expect"]
    if "error" in expected:
        with pytest.raises(getattr(errors, expected["error"])) as caught:
            converse(PROVIDERS[name], case)
        assert type(caught.value).__name__ == expected["error"]
        if "retry_after_s" in expected:
            assert isinstance(caught.value, errors.Temporary)
            assert caught.value.retry_after_s == expected["retry_after_s"]
        return
    heard = converse(PROVIDERS[name], case)
    assert heard.text == expected["text"]
    assert [[w.text, w.start_s, w.end_s] for w in heard.words] == expected.get("words", [])
    assert [[s.text.strip(), s.start_s, s.end_s] for s in heard.segments] == expected.get("segments", [])
    for field in ("language", "duration_s", "cost_usd", "model_version", "request_id"):
        if field in expected:
            assert getattr(heard, field) == expected[field]


@pytest.mark.parametrize(("name", "path"), CASES, ids=lambda value: getattr(value, "stem", value))
def test_one_request_of_each_transcription_is_billed(name: str, path: Path) -> None:
    """Once that one is sent, hanging up saves nothing: whoever calls it off must know which it is."""
    case, sent = recorded(name, path), list[HttpRequest]()
    with contextlib.suppress(errors.ProviderError):
        converse(PROVIDERS[name], case, sent)
        assert [each.method for each in sent if each.bills] == ["POST"]
    assert len([each for each in sent if each.bills]) <= 1


# Each would be a transcript of nothing, if it were believed.
NO_ANSWERS = {
    "html": "<!doctype html><html><body>Sign in</body></html>",
    "nothing": "",
    "null": "null",
    "list": "[]",
    "object": "{}",
    "text": '"hello"',
    "half": '{"text": "hel',
    "wrong_types": json.dumps(
        dict.fromkeys(("text", "id", "status", "output", "token", "access_url", "request_id"), 7)
    ),
}
READ = [(name, path) for name, path in CASES if "text" in json.loads(path.read_text())["expect"]]


@pytest.mark.parametrize("no_answer", NO_ANSWERS)
@pytest.mark.parametrize(("name", "path"), READ, ids=lambda value: getattr(value, "stem", value))
def test_no_reply_on_the_way_is_believed_for_its_200(name: str, path: Path, no_answer: str) -> None:
    """An upload's, a ticket's, a status, the result: each in turn is replaced by something else."""
    case = recorded(name, path)
    for number in range(len(case["replies"])):
        replies = [*case["replies"][:number], {"status": 200, "text": NO_ANSWERS[no_answer]}]
        with pytest.raises(errors.MalformedReply):
            converse(PROVIDERS[name], {**case, "replies": replies})


def whole(body: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", *headers, b"", body])


IN_ONE = b'{"text": "hello", "output": "hello"}'
CHUNKED = b"Transfer-Encoding: chunked"
NO_REPLIES = {
    "html": whole(b"<html></html>", b"Content-Type: text/html", b"Content-Length: 13"),
    "html_called_json": whole(b"<html></html>", b"Content-Type: application/json", b"Content-Length: 13"),
    "wrong_shape": whole(b'["hello"]', b"Content-Length: 9"),
    "shorter_than_its_length": whole(IN_ONE, b"Content-Length: 100"),
    "without_its_last_chunk": whole(b"%x\r\n%b\r\n" % (len(IN_ONE), IN_ONE), CHUNKED),
    "cut_inside_a_chunk": whole(b"50\r\n" + IN_ONE, CHUNKED),
    "announced_too_large": whole(b"", b"Content-Length: 1000001"),
    "too_large": whole(IN_ONE + b" " * 1_000_000),
    "a_bomb": whole(gzip.compress(IN_ONE + b" " * 1_000_000), b"Content-Encoding: gzip", b"Connection: close"),
    "no_gzip": whole(IN_ONE, b"Content-Encoding: gzip", b"Connection: close"),
    "no_http": b"220 mail.example ESMTP\r\n\r\n",
}


@pytest.mark.parametrize("no_reply", NO_REPLIES)
@pytest.mark.parametrize("name", NAMES)
async def test_what_is_no_whole_reply_is_malformed(name: str, no_reply: str) -> None:
    """Over a real socket: half a transcript must not pass for one."""

    async def act(_: Faulty, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(NO_REPLIES[no_reply])

    async with faulty(act) as upstream:
        with pytest.raises(errors.MalformedReply):
            await heard_at(PROVIDERS[name], upstream.url)
    assert upstream.calls == 1


async def heard_at(provider: Provider, url: str) -> Transcript:
    """Call one who answers at any path; replies are taken up to a million bytes."""
    native = native_model(provider.name)
    job = TranscriptionJob(model="m", audio=sample_audio("slushy.mp3"))
    async with new_session() as session:
        client = HttpProvider(provider, session, max_reply_bytes=1_000_000)
        try:
            soon = Moment(asyncio.get_running_loop().time() + 30)
            return await client.transcribe(job, deployment(provider, native, url), soon)
        finally:
            await client.close()


@pytest.mark.parametrize("name", NAMES)
@given(
    body=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["text", "chunks", "segments", "words", "output", "status", "id", "urls"]),
                inner,
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_first_reply_is_a_transcript_or_an_error_dispatch_knows(name: str, body: bytes) -> None:
    """However broken a 200 is, nothing but ProviderError comes out."""
    case = {
        "native_model": native_model(name),
        "replies": [{"status": 200, "text": body.decode("latin-1")}],
    }
    # StopIteration: the first reply was believed and a second request was made.
    with contextlib.suppress(errors.ProviderError, StopIteration):
        assert isinstance(converse(PROVIDERS[name], case), Transcript)


@pytest.mark.parametrize("name", NAMES)
async def test_the_emulator_receives_the_very_bytes(name: str, emulate: Callable[..., Awaitable[str]]) -> None:
    provider = PROVIDERS[name]
    heard = await through_emulator(provider, await emulate(name))
    assert heard.text == f"blake3 {blake3(sample('slushy.wav')).hexdigest()}"


@pytest.mark.parametrize("name", NAMES)
async def test_real_speech_comes_back_as_text(
    name: str, emulate: Callable[..., Awaitable[str]], local_ear: LocalEar
) -> None:
    heard = await through_emulator(PROVIDERS[name], await emulate(name, local_ear))
    assert "slushy country roads" in heard.text


@pytest.mark.parametrize("name", NAMES)
async def test_a_wrong_key_is_the_operators_matter(name: str, emulate: Callable[..., Awaitable[str]]) -> None:
    with pytest.raises(errors.CredentialsRejected):
        await through_emulator(PROVIDERS[name], await emulate(name), key="wrong")


@pytest.mark.parametrize("name", NAMES)
async def test_bytes_that_are_no_audio_are_refused_by_the_service(
    name: str, emulate: Callable[..., Awaitable[str]]
) -> None:
    with pytest.raises((errors.JobRejected, errors.JobUnsupported)):
        await through_emulator(PROVIDERS[name], await emulate(name), audio=b"RIFF\x10\0\0\0WAVEnothing of the kind")


async def through_emulator(provider: Provider, url: str, *, key: str = KEY, audio: bytes | None = None) -> Transcript:
    from providers.emulators.ear import as_audio  # noqa: PLC0415

    native = native_model(provider.name)
    options = emulated_options(provider.name)
    urls = emulated_urls(provider.name, url)
    there = Account(name="a", adapter=provider.name, base_urls=urls, api_key=SecretStr(key), options=options)
    job = TranscriptionJob(model="m", audio=as_audio(audio if audio is not None else sample("slushy.wav")))
    async with new_session() as session:
        deadline = Moment(asyncio.get_running_loop().time() + 60)
        client = HttpProvider(provider, session)
        try:
            return await client.transcribe(job, Deployment(account=there, native_model=native), deadline)
        finally:
            await client.close()
