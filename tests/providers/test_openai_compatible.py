"""Each kind of self-hosted server asked in its own way, by hand and over a socket."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr, ValidationError

from providers.errors import CredentialsRejected, JobUnsupported
from providers.exchange import HttpReply, HttpRequest
from providers.openai_compatible import OPENAI_COMPATIBLE, CompatibleOptions
from providers.provider import unread_options
from providers.transport import HttpProvider, new_session
from providers.types import (
    Account,
    Container,
    Deployment,
    GenerationParameters,
    Moment,
    Task,
    Timestamps,
    Transcript,
    TranscriptionJob,
)
from tests.conftest import KEY, sample_audio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.emulators.ear import LocalEar

PATHS = {None: "/v1", "openai": "", "speaches": "/speaches/v1", "vllm": "/vllm/v1", "whisper-cpp": "/whisper-cpp"}
PATHS |= {"localai": "/localai/v1", "nim": "/nim/v1"}
SERVERS = list(PATHS)
FINEST = {"vllm": Timestamps.SEGMENT, "nim": Timestamps.NONE}
KEYLESS = {"whisper-cpp", "nim"}


def deployment(server: str | None, url: str = "https://gpu.example", key: str = KEY, **options: str) -> Deployment:
    account = Account(
        name="gpu",
        adapter="openai-compatible",
        base_urls={"api": url},
        api_key=SecretStr(key),
        options={"server": server, **options} if server else {},
    )
    return Deployment(account=account, native_model="Systran/faster-whisper-large-v3")


def job(audio: str = "slushy.flac", **wanted: Any) -> TranscriptionJob:
    return TranscriptionJob(model="m", audio=sample_audio(audio), **wanted)


def request(server: str | None, **wanted: Any) -> HttpRequest:
    step = next(OPENAI_COMPATIBLE.transcribe(job(**wanted), deployment(server)))
    assert isinstance(step, HttpRequest)
    return step


def form(server: str | None, **wanted: Any) -> list[tuple[str, str]]:
    """Return the text parts after the model, where it is sent, and without the response format."""
    head = request(server, **wanted).body[0]
    assert isinstance(head, bytes)
    parts = re.findall(r'name="([^"]+)"\r\n\r\n(.*?)\r\n--', head.decode())
    return [(name, text) for name, text in parts if name not in {"model", "response_format"}]


def read(server: str | None, answer: object, **wanted: Any) -> Transcript:
    exchange = OPENAI_COMPATIBLE.transcribe(job(**wanted), deployment(server))
    next(exchange)
    with pytest.raises(StopIteration) as returned:
        exchange.send(HttpReply(status=200, body=json.dumps(answer).encode()))
    heard: Transcript = returned.value.value
    return heard


# --- asking


@pytest.mark.parametrize(
    ("server", "path"),
    [(None, "/audio/transcriptions"), ("vllm", "/audio/transcriptions"), ("whisper-cpp", "/inference")],
)
def test_each_server_is_asked_at_its_path(server: str | None, path: str) -> None:
    assert request(server).url == f"https://gpu.example{path}"


@pytest.mark.parametrize(
    ("server", "path"),
    [(None, "/audio/translations"), ("whisper-cpp", "/inference"), ("localai", "/audio/transcriptions")],
)
def test_translation_is_a_route_or_a_field(server: str | None, path: str) -> None:
    assert request(server, task=Task.TRANSLATE).url.endswith(path)
    assert (("translate", "true") in form(server, task=Task.TRANSLATE)) == ("translations" not in path)


def test_vllm_knows_most_of_the_generation_parameters() -> None:
    asked = GenerationParameters(temperature=0.4, top_p=0.9, top_k=5, max_new_tokens=99, num_beams=4)
    assert form("vllm", generation=asked) == [
        ("temperature", "0.4"),
        ("top_p", "0.9"),
        ("top_k", "5"),
        ("max_completion_tokens", "99"),
        ("use_beam_search", "true"),
        ("n", "4"),
    ]


@pytest.mark.parametrize(
    ("do_sample", "temperature", "sent"), [(False, 0.7, "0.0"), (True, None, "1.0"), (True, 0.7, "0.7")]
)
def test_vllm_samples_by_temperature(do_sample: bool, temperature: float | None, sent: str) -> None:  # noqa: FBT001 - a parameter of the table
    asked = GenerationParameters(do_sample=do_sample, temperature=temperature)
    assert form("vllm", generation=asked) == [("temperature", sent)]


def test_one_beam_is_no_beam_search() -> None:
    assert form("vllm", generation=GenerationParameters(num_beams=1)) == []


def test_whisper_cpp_is_always_told_the_language() -> None:
    """Its default is English, not to listen."""
    assert form("whisper-cpp") == [("language", "auto")]
    assert form("whisper-cpp", language="de", generation=GenerationParameters(temperature=0.2, num_beams=5)) == [
        ("language", "de"),
        ("temperature", "0.2"),
        ("beam_size", "5"),
    ]


def test_speaches_is_asked_for_the_times_it_leaves_out_by_default() -> None:
    assert form("speaches", timestamps=Timestamps.SEGMENT) == [
        ("timestamp_granularities[]", "segment"),
        ("without_timestamps", "false"),
    ]
    assert form("speaches") == []


def test_localai_is_told_whether_speakers_are_wanted() -> None:
    assert form("localai") == [("diarize", "false")]
    assert form("localai", diarize=True) == [("timestamp_granularities[]", "segment"), ("diarize", "true")]


@pytest.mark.parametrize(
    ("language", "options", "sent"),
    [
        (None, {}, "multi"),
        (None, {"language": "en-GB"}, "en-GB"),
        ("en", {}, "en-US"),
        ("es-US", {"language": "en-US"}, "es-US"),
        ("tlh", {}, "tlh"),
    ],
)
def test_nim_is_told_a_language_with_its_region(language: str | None, options: dict[str, str], sent: str) -> None:
    """And no model: its name would overrule the language."""
    step = next(OPENAI_COMPATIBLE.transcribe(job(language=language), deployment("nim", **options)))
    assert isinstance(step, HttpRequest)
    head = step.body[0]
    assert isinstance(head, bytes)
    assert re.findall(r'name="([^"]+)"\r\n\r\n(.*?)\r\n--', head.decode()) == [
        ("language", sent),
        ("response_format", "json"),
    ]


def test_nim_promises_no_more_than_it_does() -> None:
    can = OPENAI_COMPATIBLE.capabilities(deployment("nim"))
    assert (can.generation, can.timestamps, can.prompt, can.diarize) == (frozenset(), frozenset(), False, False)
    assert Container.MP3 not in (can.containers or ())
    assert form("nim", task=Task.TRANSLATE, timestamps=Timestamps.WORD, prompt="x") == [("language", "multi")]


def test_an_option_goes_to_servers_that_know_it_only() -> None:
    options = {"openai-compatible": CompatibleOptions(hotwords="slush")}
    assert form("vllm", provider_options=options) == [("hotwords", "slush")]
    assert "hotwords" not in dict(form("localai", provider_options=options))
    can = OPENAI_COMPATIBLE.capabilities(deployment("localai"))
    assert unread_options(job(provider_options=options), "openai-compatible", can) == ["hotwords"]


@pytest.mark.parametrize("options", [{"vllm_xargs": "{}"}, {"min_p": float("nan")}, {"seed": "7"}])
def test_what_is_not_on_the_list_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CompatibleOptions.model_validate(options)


def test_a_translation_by_route_has_no_word_times() -> None:
    with pytest.raises(JobUnsupported, match="word times"):
        request("speaches", task=Task.TRANSLATE, timestamps=Timestamps.WORD)


def test_what_is_honoured_depends_on_the_server() -> None:
    can = {server: OPENAI_COMPATIBLE.capabilities(deployment(server)) for server in SERVERS}
    assert can[None].generation == {"temperature"}
    assert can["vllm"].generation == {"temperature", "do_sample", "top_p", "top_k", "max_new_tokens", "num_beams"}
    assert can["whisper-cpp"].generation == {"temperature", "num_beams"}
    assert can["vllm"].timestamps == {Timestamps.SEGMENT}
    assert can["localai"].diarize
    assert Container.WEBM not in (can["whisper-cpp"].containers or ())


def test_an_unknown_server_is_told_to_the_operator() -> None:
    with pytest.raises(ValueError, match=r"account gpu: options\.server is 'wisper'.*whisper-cpp"):
        OPENAI_COMPATIBLE.capabilities(deployment("wisper"))


# --- reading


def test_pieces_of_words_are_joined() -> None:
    segment = {
        "text": " Slushy roads.",
        "start": 0.0,
        "end": 1.0,
        "words": [
            {"word": " Sl", "start": 0.0, "end": 0.2, "probability": 0.9},
            {"word": "ushy", "start": 0.2, "end": 0.5, "probability": 0.6},
            {"word": " roads", "start": 0.5, "end": 0.9},
            {"word": ".", "start": 0.9, "end": 1.0},
        ],
    }
    answer = {"text": " Slushy roads.\n Day after day.\n", "language": "english", "segments": [segment]}
    heard = read("whisper-cpp", answer, timestamps=Timestamps.WORD)

    assert heard.text == "Slushy roads. Day after day."
    assert [(word.text, word.start_s, word.end_s, word.confidence) for word in heard.words] == [
        ("Slushy", 0.0, 0.5, 0.6),
        ("roads.", 0.5, 1.0, None),
    ]


def test_a_language_without_spaces_keeps_its_pieces() -> None:
    words = [{"word": "早", "start": 0.0, "end": 0.2}, {"word": "上好", "start": 0.2, "end": 0.5}]
    answer = {"text": "早上好", "language": "chinese", "segments": [{"text": "早上好", "words": words}]}

    assert [word.text for word in read("whisper-cpp", answer).words] == ["早", "上好"]


def test_an_older_localai_counts_nanoseconds() -> None:
    segment = {"text": "Hi.", "start": 500_000_000, "end": 2_000_000_000}
    answer = {"text": "Hi. Ho.", "segments": [segment, {"text": "Ho.", "start": 2.0, "end": 3.5}]}
    heard = read("localai", answer, timestamps=Timestamps.SEGMENT)

    assert [(segment.start_s, segment.end_s) for segment in heard.segments] == [(0.5, 2.0), (2.0, 3.5)]


# --- over a socket


async def through(server: str | None, root: str, *, key: str = KEY, **wanted: Any) -> Transcript:
    async with new_session() as session:
        deadline = Moment(asyncio.get_running_loop().time() + 60)
        to = deployment(server, root + PATHS[server], key)
        return await HttpProvider(OPENAI_COMPATIBLE, session).transcribe(job(**wanted), to, deadline)


@pytest.mark.parametrize("server", SERVERS)
async def test_real_speech_comes_back_from_every_server(
    server: str | None, emulate: Callable[..., Awaitable[str]], local_ear: LocalEar
) -> None:
    root = await emulate("openai-compatible", local_ear)
    finest = FINEST.get(server or "", Timestamps.WORD)
    heard = await through(server, root, timestamps=finest, language="en")

    assert "slushy country roads" in heard.text
    if finest is Timestamps.NONE:
        return
    assert heard.language == "en"
    assert heard.duration_s == pytest.approx(13.69, abs=0.1)
    assert heard.segments[0].start_s < 2
    if finest is Timestamps.WORD:
        assert [word.text.strip(".,").lower() for word in heard.words[1:4]] == ["along", "slushy", "country"]
        assert all(a.start_s <= b.start_s for a, b in zip(heard.words, heard.words[1:], strict=False))


@pytest.mark.parametrize("server", SERVERS)
async def test_plain_text_brings_no_times(server: str | None, emulate: Callable[..., Awaitable[str]]) -> None:
    heard = await through(server, await emulate("openai-compatible"))

    assert heard.text.startswith("blake3 ")
    assert (heard.words, heard.segments) == ((), ())


@pytest.mark.parametrize("server", SERVERS)
async def test_every_server_translates(server: str | None, emulate: Callable[..., Awaitable[str]]) -> None:
    heard = await through(server, await emulate("openai-compatible"), task=Task.TRANSLATE)

    assert heard.text.startswith("blake3 ")


@pytest.mark.parametrize("server", [server for server in SERVERS if server not in KEYLESS])
async def test_a_wrong_key_is_the_operators_matter(server: str | None, emulate: Callable[..., Awaitable[str]]) -> None:
    with pytest.raises(CredentialsRejected):
        await through(server, await emulate("openai-compatible"), key="wrong")


@pytest.mark.parametrize("server", SERVERS)
async def test_a_language_nobody_knows_is_another_providers_matter(
    server: str | None, emulate: Callable[..., Awaitable[str]]
) -> None:
    with pytest.raises(JobUnsupported):
        await through(server, await emulate("openai-compatible"), language="tlh")


async def test_speakers_come_from_localai(emulate: Callable[..., Awaitable[str]]) -> None:
    root = await emulate("openai-compatible")
    unnamed = await through("localai", root, timestamps=Timestamps.SEGMENT)
    named = await through("localai", root, diarize=True)

    assert [segment.speaker for segment in unnamed.segments] == [None]
    assert [segment.speaker for segment in named.segments] == ["SPEAKER_00"]


async def test_whisper_cpp_cannot_read_every_container(emulate: Callable[..., Awaitable[str]]) -> None:
    root = await emulate("openai-compatible")
    with pytest.raises(JobUnsupported):
        await through("whisper-cpp", root, audio="slushy.webm")
