"""The OpenAI front before every provider: whatever stands behind, the SDK's own types accept the answer."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import aiohttp
import openai
import pysubs2
import pytest
from blake3 import blake3
from openai.types.audio import Transcription, TranscriptionDiarized, TranscriptionVerbose, TranslationVerbose

from config.catalog import load_catalog
from config.settings import OnUnsupported, Route, Target
from gateway.abilities import listed
from providers.registry import PROVIDERS
from providers.types import Task
from tests.conftest import KEY, encoded, sample, tone
from tests.driving import at
from tests.serving import emulated_account, routed, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from providers.types import Capabilities

    Emulate = Callable[..., Awaitable[str]]
    Start = Callable[..., Awaitable[openai.AsyncOpenAI]]

# The SDK calls `translations.create` deprecated, with the models it leads to there.
pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")

AUDIO = sample("slushy.wav")
HEARD = f"blake3 {blake3(AUDIO).hexdigest()}"
SECONDS = pytest.approx(13.69, abs=0.01)

NOTHING, SEGMENTS, WORDS = frozenset[str](), frozenset({"segment"}), frozenset({"segment", "word"})
# adapter, native model, options of the account, and the times there are
ABILITIES: list[tuple[str, str, dict[str, str], frozenset[str]]] = [
    ("cloudflare", "@cf/openai/whisper-large-v3-turbo", {}, WORDS),
    ("cloudflare", "@cf/openai/whisper", {}, WORDS),
    ("xai", "grok-voice-transcribe-2.0", {}, WORDS),
    ("elevenlabs", "scribe_v2", {}, WORDS),
    ("elevenlabs", "scribe_v3", {}, WORDS),
    ("revai", "machine", {}, WORDS),
    ("soniox", "stt-async-v5", {}, WORDS),
    ("deepgram", "nova-3", {}, WORDS),
    ("deepgram", "nova-2", {}, WORDS),
    ("speechmatics", "enhanced", {}, WORDS),
    ("speechmatics", "melia-1", {}, WORDS),
    ("gladia", "solaria-1", {}, WORDS),
    ("openai", "whisper-1", {}, WORDS),
    ("openai", "gpt-transcribe", {}, NOTHING),
    ("openai", "gpt-4o-transcribe", {}, NOTHING),
    ("openai", "gpt-4o-mini-transcribe", {}, NOTHING),
    ("openai", "gpt-4o-transcribe-diarize", {}, SEGMENTS),
    ("fal-ai", "fal-ai/whisper", {}, WORDS),
    ("fal-ai", "fal-ai/wizper", {}, SEGMENTS),
    ("fal-ai", "fal-ai/elevenlabs/speech-to-text/scribe-v2", {}, WORDS),  # segments made of its words
    ("fal-ai", "fal-ai/speech-to-text", {}, NOTHING),
    ("replicate", "vaibhavs10/incredibly-fast-whisper:{version}", {}, WORDS),
    ("replicate", "openai/gpt-4o-transcribe", {}, NOTHING),
    ("deepinfra", "openai/whisper-large-v3", {}, WORDS),
    ("deepinfra", "openai/whisper-large-v3", {"form": "openai"}, WORDS),
    ("deepinfra", "mistralai/Voxtral-Mini-3B-2507", {}, NOTHING),
    ("together", "openai/whisper-large-v3", {}, WORDS),
    ("together", "nvidia/parakeet-tdt-0.6b-v3", {}, WORDS),
    ("groq", "whisper-large-v3", {}, WORDS),
    ("groq", "whisper-large-v3-turbo", {}, WORDS),
    ("fireworks", "whisper-v3", {}, WORDS),
    ("fireworks", "whisper-v3-turbo", {}, WORDS),
    ("openrouter", "openai/whisper-large-v3", {}, WORDS),
    ("openrouter", "openai/gpt-4o-transcribe", {}, NOTHING),
    ("sambanova", "Whisper-Large-v3", {}, NOTHING),
    ("lemonfox", "whisper-1", {}, WORDS),
    ("ovhcloud", "whisper-large-v3", {}, WORDS),
    ("scaleway", "whisper-large-v3", {}, NOTHING),
    ("telnyx", "openai/whisper-large-v3-turbo", {}, NOTHING),
    ("telnyx", "deepgram/nova-3", {}, SEGMENTS),
    ("venice", "nvidia/parakeet-tdt-0.6b-v3", {}, NOTHING),
    ("azure-speech", "fast", {}, WORDS),
    ("azure-speech", "llm-speech", {}, WORDS),
    ("cohere", "cohere-transcribe-03-2026", {}, NOTHING),
    ("mistral", "voxtral-mini-transcribe-3-0", {}, SEGMENTS),
    ("mistral", "voxtral-mini-2602", {}, WORDS),
    ("azure-openai", "whisper:my-whisper", {}, WORDS),
    ("azure-openai", "whisper:my-whisper", {"api_version": "2024-10-21"}, WORDS),
    ("azure-openai", "gpt-transcribe:my-gpt-transcribe", {}, NOTHING),
    ("azure-openai", "gpt-4o-transcribe-diarize:my-gpt-4o-transcribe-diarize", {}, SEGMENTS),
    ("hf-inference", "openai/whisper-large-v3", {}, WORDS),
    ("openai-compatible", "any", {}, WORDS),
    ("assemblyai", "universal-3-5-pro", {}, WORDS),
    ("gemini", "gemini-3.5-transcribe", {}, WORDS),  # segments made of its words
    ("gemini", "gemini-2.5-flash", {}, NOTHING),
    ("aws-transcribe", "standard", {}, WORDS),
    ("ibm-watson", "en-US_Multimedia", {}, WORDS),
    ("ibm-watson", "large", {"language": "en-GB"}, WORDS),
    ("sarvam", "saaras:v4", {}, SEGMENTS),
    ("baseten", "abcd1234", {}, SEGMENTS),
    ("kserve", "whisper", {"language": "en"}, SEGMENTS),
    ("google-stt", "chirp_2", {}, WORDS),
    ("google-stt", "chirp_3", {}, SEGMENTS),
]
VERSION = "3ab86df6c8f54c11309d4d1f930ac292bad43ace52d10c80d87eb258b3c9f79c"
IDS = [f"{adapter}:{native.partition(':')[0]}{'+' if options else ''}" for adapter, native, options, _ in ABILITIES]


def client(url: str, **options: Any) -> openai.AsyncOpenAI:
    """Return the SDK, which otherwise takes any shape without a word."""
    options = {"max_retries": 0, **options}
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", _strict_response_validation=True, **options)


@pytest.fixture
async def start(emulate: Emulate) -> AsyncIterator[Start]:
    """Return a function that starts a gateway before an emulator and gives the SDK for it; its model is called m."""
    async with AsyncExitStack() as stack:

        async def begin(adapter: str, native: str, **options: str) -> openai.AsyncOpenAI:
            account = emulated_account(adapter, await emulate(adapter, job_s=0.0), **options)
            settings = routed("m", {"there": account}, f"there/{native.format(version=VERSION)}")
            url, _ = await stack.enter_async_context(running(settings))
            return await stack.enter_async_context(client(url))

        yield begin


def test_every_provider_is_in_the_table() -> None:
    assert {adapter for adapter, *_ in ABILITIES} == set(PROVIDERS)


async def ask(sdk: openai.AsyncOpenAI, **fields: Any) -> Any:
    return await sdk.audio.transcriptions.create(file=("a.wav", AUDIO), model="m", **fields)


@pytest.mark.parametrize(("adapter", "native", "options", "times"), ABILITIES, ids=IDS)
async def test_every_format_of_every_provider(
    start: Start,
    adapter: str,
    native: str,
    options: dict[str, str],
    times: frozenset[str],
) -> None:
    """What a service does not send is made of what it does; what it cannot know is refused by its name."""
    sdk = await start(adapter, native, **options)

    plain = await ask(sdk)
    assert isinstance(plain, Transcription)
    assert plain.text == HEARD
    assert await ask(sdk, response_format="text") == f"{HEARD}\n"
    for format_ in ("srt", "vtt"):
        await check_subtitles(sdk, format_, possible="segment" in times)
    await check_verbose(sdk, ["segment"], possible="segment" in times)
    await check_verbose(sdk, ["word"], possible="word" in times)
    await check_verbose(sdk, ["word", "segment"], possible="word" in times)


async def check_subtitles(sdk: openai.AsyncOpenAI, format_: str, *, possible: bool) -> None:
    if not possible:
        await check_refused(sdk, response_format=format_)
        return
    cues = pysubs2.SSAFile.from_string(await ask(sdk, response_format=format_), format_=format_)
    assert " ".join(cue.plaintext for cue in cues) == HEARD
    assert all(0 <= cue.start < cue.end <= 13_690 for cue in cues)


async def check_verbose(sdk: openai.AsyncOpenAI, levels: list[str], *, possible: bool) -> None:
    asked = {"response_format": "verbose_json", "timestamp_granularities": levels}
    if not possible:
        await check_refused(sdk, **asked)
        return
    heard = await ask(sdk, **asked)
    assert isinstance(heard, TranscriptionVerbose)
    assert heard.text == HEARD
    assert heard.duration == SECONDS
    assert (heard.segments is not None, heard.words is not None) == ("segment" in levels, "word" in levels)
    if heard.segments is not None:
        assert " ".join(segment.text.strip() for segment in heard.segments) == HEARD
    if heard.words is not None:
        assert [word.word for word in heard.words] == HEARD.split()


async def check_refused(sdk: openai.AsyncOpenAI, **asked: Any) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="there/") as caught:
        await ask(sdk, **asked)
    assert (caught.value.code, caught.value.param) == ("unsupported-parameter", "response_format")


def can(adapter: str, native: str, options: dict[str, str]) -> Capabilities:
    to = at(adapter, native.format(version=VERSION), **options)
    return PROVIDERS[adapter].capabilities(to)


TRANSLATORS = [
    (adapter, native, options)
    for adapter, native, options, times in ABILITIES
    if times and Task.TRANSLATE in can(adapter, native, options).tasks
]


def test_every_provider_that_translates_is_tried() -> None:
    """One with a model that does, in the catalog, has such a model in the table."""
    translating = {
        each.provider for each in listed(load_catalog()) if Task.TRANSLATE in each.can.tasks and each.can.timestamps
    }

    assert {adapter for adapter, *_ in TRANSLATORS} == translating


@pytest.mark.parametrize(("adapter", "native", "options"), TRANSLATORS)
async def test_translations(start: Start, adapter: str, native: str, options: dict[str, str]) -> None:
    """With times; of those who give none, their own tests tell."""
    sdk = await start(adapter, native, **options)

    plain = await sdk.audio.translations.create(file=("a.wav", AUDIO), model="m")
    timed = await sdk.audio.translations.create(file=("a.wav", AUDIO), model="m", response_format="verbose_json")

    assert plain.text == HEARD
    assert isinstance(timed, TranslationVerbose)
    assert (timed.language, timed.text) == ("english", HEARD)
    assert timed.duration == SECONDS
    assert timed.segments


SPEAKERS: list[tuple[str, str, dict[str, str]]] = [
    ("xai", "grok-voice-transcribe-2.0", {}),
    ("elevenlabs", "scribe_v2", {}),
    ("revai", "machine", {}),
    ("soniox", "stt-async-v5", {}),
    ("deepgram", "nova-3", {}),
    ("speechmatics", "enhanced", {}),
    ("gladia", "solaria-1", {}),
    ("openai", "gpt-4o-transcribe-diarize", {}),
    ("fal-ai", "fal-ai/whisper", {}),
    ("fal-ai", "fal-ai/elevenlabs/speech-to-text/scribe-v2", {}),
    ("fireworks", "whisper-v3", {}),
    ("openrouter", "microsoft/mai-transcribe-2", {}),
    ("azure-speech", "fast", {}),
    ("lemonfox", "whisper-1", {}),
    ("mistral", "voxtral-mini-transcribe-3-0", {}),
    ("azure-openai", "gpt-4o-transcribe-diarize:my-gpt-4o-transcribe-diarize", {}),
    ("together", "openai/whisper-large-v3", {}),
    ("assemblyai", "universal-3-5-pro", {}),
    ("gemini", "gemini-3.5-transcribe", {}),
    ("google-stt", "long", {"language": "en-US"}),
    ("aws-transcribe", "standard", {}),
    ("ibm-watson", "en-US_Multimedia", {}),
]


def test_every_provider_that_tells_speakers_apart_is_tried() -> None:
    telling = {each.provider for each in listed(load_catalog()) if each.can.diarize}

    assert {adapter for adapter, *_ in SPEAKERS} >= telling


@pytest.mark.parametrize(("adapter", "native", "options"), SPEAKERS)
async def test_speakers(start: Start, adapter: str, native: str, options: dict[str, str]) -> None:
    """Turns are the provider's, or made of its words; the SDK wants a speaker with each."""
    sdk = await start(adapter, native, **options)

    heard = await ask(sdk, response_format="diarized_json")

    assert isinstance(heard, TranscriptionDiarized)
    assert heard.duration == SECONDS
    assert {(each.type, each.id[:5], each.speaker != "unknown") for each in heard.segments} == {
        ("transcript.text.segment", "seg_0", True)
    }


async def test_names_of_the_provider_never_cross(start: Start) -> None:
    """The caller's words for its fields come back, whatever planning calls them."""
    sdk = await start("openai", "gpt-4o-transcribe")

    with pytest.raises(openai.UnprocessableEntityError) as caught:
        await ask(sdk, response_format="diarized_json")
    assert caught.value.param == "response_format"
    assert "return_timestamps" not in str(caught.value)
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        await sdk.audio.translations.create(file=("a.wav", AUDIO), model="m")
    assert caught.value.param == "model"


async def test_openais_own_fields_reach_openai(start: Start) -> None:
    """Every spelling of chunking_strategy, and lists under their brackets: the emulator refuses what is malformed."""
    gpt = await start("openai", "gpt-transcribe")
    diarizes = await start("openai", "gpt-4o-transcribe-diarize")

    answer = await gpt.audio.transcriptions.with_raw_response.create(
        file=("a.wav", AUDIO), model="m", keywords=["slushy", "draughty"], languages=["en", "de"], temperature=0.2
    )
    vad = await ask(
        diarizes,
        response_format="diarized_json",
        chunking_strategy={"type": "server_vad", "threshold": 0.4, "silence_duration_ms": 300},
        known_speaker_names=["agent"],
    )

    assert "x-gateway-ignored-parameters" not in answer.headers
    assert vad.text == HEARD


async def test_openais_own_fields_are_named_where_another_answers(
    start: Start,
) -> None:
    sdk = await start("deepinfra", "openai/whisper-large-v3")

    answer = await sdk.audio.transcriptions.with_raw_response.create(
        file=("a.wav", AUDIO), model="m", keywords=["slushy"], chunking_strategy="auto"
    )

    ignored = answer.headers["x-gateway-ignored-parameters"].split(", ")
    assert sorted(ignored) == ["provider_options.openai.chunking_strategy", "provider_options.openai.keywords"]


async def test_one_of_several_languages_is_the_language(start: Start) -> None:
    """`languages` with one entry means what `language` means, on every provider."""
    sdk = await start("openai-compatible", "any")

    heard = await ask(sdk, languages=["de"], response_format="verbose_json")

    assert heard.language == "german"


async def test_ignored_parameters_are_named(emulate: Emulate) -> None:
    """`on_unsupported: ignore` answers without them and says so; `reject`, the default, does not."""
    account = emulated_account("together", await emulate("together"))
    target = Target(target="there/openai/whisper-large-v3", substitute=True)
    settings = routed("strict", {"there": account}, "there/openai/whisper-large-v3")
    models = {**settings.models, "lax": Route(targets=(target,), on_unsupported=OnUnsupported.IGNORE)}
    async with running(settings.model_copy(update={"models": models})) as (url, _), client(url) as sdk:
        lax = await sdk.audio.transcriptions.with_raw_response.create(
            file=("a.wav", AUDIO), model="lax", extra_body={"top_k": 5, "num_beams": 2}
        )
        with pytest.raises(openai.UnprocessableEntityError, match="does not honour top_k, num_beams") as caught:
            await sdk.audio.transcriptions.create(
                file=("a.wav", AUDIO), model="strict", extra_body={"top_k": 5, "num_beams": 2}
            )

    assert lax.headers["x-gateway-ignored-parameters"] == "top_k, num_beams"
    assert caught.value.param == "top_k"


async def test_headers_say_who_answered(emulate: Emulate) -> None:
    """After a failover the counts and names are those of the last attempt."""
    accounts = {
        "broken": emulated_account("deepinfra", await emulate("deepinfra"), key="wrong"),
        "well": emulated_account("together", await emulate("together")),
    }
    settings = routed("m", accounts, "broken/openai/whisper-large-v3", "well/openai/whisper-large-v3")
    async with running(settings) as (url, _), client(url) as sdk:
        answer = await sdk.audio.transcriptions.with_raw_response.create(file=("a.wav", AUDIO), model="m")

    ours = {name: value for name, value in answer.headers.items() if name.startswith(("x-gateway", "x-audio"))}
    assert ours == {
        "x-gateway-provider": "well",
        "x-gateway-model": "openai/whisper-large-v3",
        "x-gateway-attempts": "2",
        "x-gateway-cache": "bypass",
        "x-gateway-cost": "0.00034225",
        "x-audio-duration": "13.690",
    }


async def test_every_deployment_failing_is_final(emulate: Emulate) -> None:
    """502 with a line for each attempt, and the SDK, which would send the audio twice more, is told not to."""
    account = emulated_account("deepinfra", await emulate("deepinfra"), key="wrong")
    settings = routed("m", {"broken": account}, "broken/openai/whisper-large-v3")
    async with running(settings) as (url, gateway), client(url, max_retries=2) as sdk:
        with pytest.raises(openai.InternalServerError, match="broken/openai/whisper-large-v3: credentials") as caught:
            await sdk.audio.transcriptions.create(file=("a.wav", AUDIO), model="m")
        requests = gateway.metrics.registry.get_sample_value(
            "asr_requests_total", {"front": "openai-transcribe", "model": "m", "status": "502"}
        )

    assert (caught.value.status_code, caught.value.code, requests) == (502, "credentials-rejected", 1)
    assert caught.value.response.headers["x-should-retry"] == "false"


async def test_the_deadline_is_final(emulate: Emulate) -> None:
    account = emulated_account("replicate", await emulate("replicate", job_s=60.0))
    native = f"vaibhavs10/incredibly-fast-whisper:{VERSION}"
    deadline = {"base": 0.4, "per_audio_second": 0, "max": 0.4}
    settings = routed("m", {"slow": account}, f"slow/{native}", deadline=deadline)
    async with running(settings) as (url, gateway), client(url, max_retries=2) as sdk:
        with pytest.raises(openai.InternalServerError, match=r"slow/.*: timeout after 0\.") as caught:
            await sdk.audio.transcriptions.create(file=("a.wav", AUDIO), model="m")
        requests = gateway.metrics.registry.get_sample_value(
            "asr_requests_total", {"front": "openai-transcribe", "model": "m", "status": "504"}
        )

    assert (caught.value.status_code, caught.value.code, requests) == (504, "deadline", 1)
    assert caught.value.response.headers["x-should-retry"] == "false"


async def test_a_rate_limit_is_not_final(emulate: Emulate) -> None:
    """429 with Retry-After when every deployment says so: waiting is the caller's to do."""
    account = emulated_account("openai", await emulate("openai"), key=f"{KEY}-limited")
    async with running(routed("m", {"busy": account}, "busy/whisper-1")) as (url, _), client(url) as sdk:
        with pytest.raises(openai.RateLimitError, match="busy/whisper-1: rate_limited") as caught:
            await sdk.audio.transcriptions.create(file=("a.wav", AUDIO), model="m")

    assert (caught.value.code, caught.value.type) == ("rate-limited", "rate_limit_error")
    assert int(caught.value.response.headers["retry-after"]) >= 1
    assert "x-should-retry" not in caught.value.response.headers


async def test_silence_is_an_answer_in_every_format(emulate: Emulate, local_ear: Any) -> None:
    """An empty text, no cues, and documents that are still well formed."""
    silence = encoded(tone(1, 16_000) * 0, 16_000, "wav", "pcm_s16le")
    account = emulated_account("openai", await emulate("openai", local_ear))
    async with running(routed("m", {"there": account}, "there/whisper-1")) as (url, _), client(url) as sdk:
        answers: dict[str, Any] = {
            format_: await sdk.audio.transcriptions.create(file=("a.wav", silence), model="m", response_format=format_)
            for format_ in ("json", "text", "srt", "vtt", "verbose_json")
        }

    assert answers["json"].text == answers["verbose_json"].text == ""
    assert answers["verbose_json"].segments == []
    assert (answers["text"], answers["srt"], answers["vtt"]) == ("\n", "", "WEBVTT\n\n")


async def test_audio_without_a_length_has_one_in_the_answer(emulate: Emulate) -> None:
    """A browser's recording says nowhere how long it is: its packets tell, whatever the provider says."""
    recorded = encoded(tone(2, 48_000), 48_000, "webm", "libopus", options={"live": "1"})
    accounts = {
        "tells": emulated_account("openai", await emulate("openai")),
        "silent": emulated_account("hf-inference", await emulate("hf-inference")),
    }
    answers = {}
    for target in ("tells/whisper-1", "silent/openai/whisper-large-v3"):
        async with running(routed("m", accounts, target)) as (url, _), client(url) as sdk:
            answers[target] = await sdk.audio.transcriptions.with_raw_response.create(
                file=("a.webm", recorded), model="m", response_format="verbose_json"
            )

    for answer in answers.values():
        assert float(answer.headers["x-audio-duration"]) == pytest.approx(2, abs=0.1)
        assert answer.parse().duration == pytest.approx(2, abs=0.1)


class TestForms:
    """What other programs send, by hand."""

    @pytest.fixture
    async def url(self, emulate: Emulate) -> AsyncIterator[str]:
        account = emulated_account("openai", await emulate("openai"))
        async with running(routed("m", {"there": account}, "there/whisper-1")) as (url, _):
            yield f"{url}/v1/audio/transcriptions"

    @pytest.mark.parametrize("name", ["timestamp_granularities[]", "timestamp_granularities"])
    async def test_both_spellings_of_a_list(self, url: str, name: str) -> None:
        status, body = await post(url, (name, "word"), (name, "segment"), ("response_format", "verbose_json"))

        assert (status, sorted({"words", "segments"} & body.keys())) == (200, ["segments", "words"])

    async def test_fields_after_the_file(self, url: str) -> None:
        form = aiohttp.FormData()
        form.add_field("file", AUDIO, filename="a.wav")
        form.add_field("response_format", "verbose_json")
        form.add_field("model", "m")
        async with aiohttp.ClientSession() as session, session.post(url, data=form) as answer:
            assert (await answer.json())["segments"]

    @pytest.mark.parametrize("spelling", ["auto", '{"type": "server_vad", "threshold": 0.4}'])
    async def test_chunking_strategy_in_one_part(self, url: str, spelling: str) -> None:
        status, body = await post(url, ("chunking_strategy", spelling))

        assert status == 200, body

    @pytest.mark.parametrize(
        ("field", "value", "status", "param"),
        [
            ("chunking_strategy", "{", 400, "chunking_strategy"),
            ("chunking_strategy", '{"a":' * 10_000, 400, "chunking_strategy"),  # deeper than any parser goes
            ("chunking_strategy", "sometimes", 422, "chunking_strategy"),
            ("known_speaker_names", "", 422, "known_speaker_names"),
            ("response_format", "xml", 400, "response_format"),
            ("timestamp_granularities[]", "word", 400, "timestamp_granularities"),
            ("timestamp_granularities[]", "letter", 400, "timestamp_granularities"),
            ("model", "n", 400, "model"),
            ("stream", "true", 400, "stream"),
            ("include[]", "logprobs", 400, "include"),
            ("known_speaker_references[]", "data:", 400, "known_speaker_references"),
            ("temperature", "1.1", 422, "temperature"),
            ("temperature", "-0.1", 422, "temperature"),
            ("temperature", "nan", 422, "temperature"),
            ("temperature", "warm", 422, "temperature"),
            ("language", "klingon", 422, "language"),
            ("prompt", "a\0b", 422, "prompt"),
            ("num_beams", "0", 422, "num_beams"),
            ("diarize", "perhaps", 400, "diarize"),
            ("responseformat", "json", 400, "responseformat"),
        ],
    )
    async def test_a_field_is_refused_by_name(self, url: str, field: str, value: str, status: int, param: str) -> None:
        answered, body = await post(url, (field, value))

        assert (answered, body["error"]["param"]) == (status, param)
        assert param in body["error"]["message"]
        assert body["error"].keys() >= {"message", "type", "param", "code"}

    async def test_query_parameters_are_fields_too(self, url: str) -> None:
        timed, body = await post(f"{url}?response_format=verbose_json")
        unknown, refused = await post(f"{url}?api-version=2025-01-01")
        secret, told = await post(f"{url}?api_key=sk-secret")

        assert (timed, "segments" in body) == (200, True)
        assert (unknown, refused["error"]["param"]) == (400, "api-version")
        assert (secret, "sk-secret" in str(told)) == (400, False)

    async def test_a_stream_that_is_not_wanted(self, url: str) -> None:
        status, _ = await post(url, ("stream", "false"))

        assert status == 200

    @pytest.mark.parametrize(
        ("form", "media_type"),
        [
            ("json", "application/json"),
            ("verbose_json", "application/json"),
            ("text", "text/plain; charset=utf-8"),
            ("srt", "application/x-subrip; charset=utf-8"),
            ("vtt", "text/vtt; charset=utf-8"),
        ],
    )
    async def test_content_types_are_exact(self, url: str, form: str, media_type: str) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=a_form(("response_format", form))) as answer,
        ):
            assert answer.headers["Content-Type"] == media_type

    async def test_the_file_is_told_from_its_bytes(self, url: str) -> None:
        """Names and types lie; a field that is no file at all is no audio."""
        form = aiohttp.FormData()
        form.add_field("model", "m")
        form.add_field("file", AUDIO, filename="../../etc/passwd.mp3", content_type="image/png")
        async with aiohttp.ClientSession() as session, session.post(url, data=form) as answer:
            assert (await answer.json())["text"] == HEARD
        for audio, status in (
            (b"", 400),
            (b"/etc/passwd", 400),
            (b"https://example.com/a.wav", 422),
            (b"\x89PNG\r\n\x1a\n", 415),
        ):
            form = aiohttp.FormData()
            form.add_field("model", "m")
            form.add_field("file", audio, filename="a.wav")
            async with aiohttp.ClientSession() as session, session.post(url, data=form) as answer:
                assert answer.status == status
                assert (await answer.json())["error"]["type"] == "invalid_request_error"

    async def test_json_is_told_to_be_a_form(self, url: str) -> None:
        async with aiohttp.ClientSession() as session, session.post(url, json={"model": "m"}) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (415, "unsupported-media-type")

    async def test_missing_parts_are_named(self, url: str) -> None:
        for missing in ("file", "model"):
            form = aiohttp.FormData(default_to_multipart=True)
            form.add_field("prompt", "x")
            if missing == "file":
                form.add_field("model", "m")
            else:
                form.add_field("file", AUDIO, filename="a.wav")
            async with aiohttp.ClientSession() as session, session.post(url, data=form) as answer:
                assert (answer.status, (await answer.json())["error"]["param"]) == (400, missing)


def a_form(*fields: tuple[str, str]) -> aiohttp.FormData:
    form = aiohttp.FormData()
    form.add_field("model", "m")
    for name, value in fields:
        form.add_field(name, value)
    form.add_field("file", AUDIO, filename="a.wav")
    return form


async def post(url: str, *fields: tuple[str, str]) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.post(url, data=a_form(*fields)) as answer:
        return answer.status, await answer.json()
