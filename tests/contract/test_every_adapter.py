"""Every registered provider through the same cases: its recorded replies, and its emulator over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from providers import errors
from providers.exchange import Afterwards, HttpReply, HttpRequest, IfAbandoned, Wait
from providers.registry import PROVIDERS
from providers.transport import HttpProvider, new_session
from providers.types import Account, Deployment, Moment, Timestamps, Transcript, TranscriptionJob
from tests.conftest import KEY, sample, sample_audio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.emulators.ear import LocalEar
    from providers.provider import Provider

FIXTURES = Path(__file__).parents[1] / "fixtures"
REQUIRED = ("words", "silence", "400", "401", "429", "500", "cut_off")
NAMES = sorted(PROVIDERS)
NO_DEADLINE = Moment(1e9)

CASES = [(name, path) for name in NAMES for path in sorted((FIXTURES / name).glob("*.json"))]


def account(provider: Provider, url: str = "https://provider.example") -> Account:
    urls = dict.fromkeys(provider.base_urls or ("api",), url)
    return Account(name="a", adapter=provider.name, base_urls=urls, api_key=SecretStr(KEY))


def deployment(provider: Provider, native_model: str, url: str = "https://provider.example") -> Deployment:
    return Deployment(account=account(provider, url), native_model=native_model)


def converse(provider: Provider, case: dict[str, Any]) -> Transcript:
    """Drive the adapter by hand with the recorded replies, in order."""
    job = TranscriptionJob(
        model="m",
        audio=sample_audio("sb_spk2_snt1.flac"),
        timestamps=Timestamps(case.get("timestamps", "none")),
        diarize=case.get("diarize", False),
    )
    exchange = provider.transcribe(job, deployment(provider, case["native_model"]), NO_DEADLINE)
    replies = iter(case["replies"])
    answer: HttpReply | None = None
    step = next(exchange)
    for _ in range(50):
        match step:
            case HttpRequest():
                recorded = next(replies)
                body = recorded["text"] if "text" in recorded else json.dumps(recorded.get("json"))
                headers = {name.lower(): value for name, value in recorded.get("headers", {}).items()}
                answer = HttpReply(status=recorded["status"], headers=headers, body=body.encode())
            case Wait() | IfAbandoned() | Afterwards():
                answer = None
        try:
            step = exchange.send(answer)
        except StopIteration as returned:
            heard: Transcript = returned.value
            return heard
    raise AssertionError("the adapter asks for ever")


@pytest.mark.parametrize("name", NAMES)
def test_has_a_recording_of_everything_that_happens(name: str) -> None:
    assert {path.stem for path in (FIXTURES / name).glob("*.json")} >= set(REQUIRED)


@pytest.mark.parametrize(("name", "path"), CASES, ids=lambda value: getattr(value, "stem", value))
def test_recorded_reply_is_read_as_expected(name: str, path: Path) -> None:
    case = json.loads(path.read_text())
    assert case["source"], "a recording says where it comes from"
    expected = case["expect"]
    if "error" in expected:
        with pytest.raises(getattr(errors, expected["error"])) as caught:
            converse(PROVIDERS[name], case)
        assert type(caught.value).__name__ == expected["error"]
        if "retry_after_s" in expected:
            assert isinstance(caught.value, errors.RateLimited)
            assert caught.value.retry_after_s == expected["retry_after_s"]
        return
    heard = converse(PROVIDERS[name], case)
    assert heard.text == expected["text"]
    assert [[w.text, w.start_s, w.end_s] for w in heard.words] == expected.get("words", [])
    assert [[s.text.strip(), s.start_s, s.end_s] for s in heard.segments] == expected.get("segments", [])
    for field in ("language", "duration_s", "cost_usd", "model_version", "request_id"):
        if field in expected:
            assert getattr(heard, field) == expected[field]


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
        "native_model": json.loads((FIXTURES / name / "words.json").read_text())["native_model"],
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


def emulated_urls(provider: Provider, root: str) -> dict[str, str]:
    """Return where an account finds the emulator: its module says so where that is not the root for everything."""
    module = import_module(f"providers.emulators.{provider.name.replace('-', '_')}")
    if hasattr(module, "base_urls"):
        urls: dict[str, str] = module.base_urls(root)
        return urls
    return dict.fromkeys(provider.base_urls or ("api",), root)


async def through_emulator(provider: Provider, url: str, *, key: str = KEY, audio: bytes | None = None) -> Transcript:
    from providers.emulators.ear import as_audio  # noqa: PLC0415

    native = json.loads((FIXTURES / provider.name / "words.json").read_text())["native_model"]
    there = Account(name="a", adapter=provider.name, base_urls=emulated_urls(provider, url), api_key=SecretStr(key))
    job = TranscriptionJob(model="m", audio=as_audio(audio if audio is not None else sample("slushy.wav")))
    async with new_session() as session:
        deadline = Moment(asyncio.get_running_loop().time() + 60)
        return await HttpProvider(provider, session).transcribe(
            job, Deployment(account=there, native_model=native), deadline
        )
