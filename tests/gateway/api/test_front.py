"""What every transcribing route does the same: who may, what is checked, and what the headers say."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from config.auth import Auth, AuthMode, Key
from config.cache import Cache
from config.settings import Route, Settings, Target
from providers.registry import PROVIDERS
from tests.conftest import encoded, sample, tone
from tests.serving import emulated_account, routed, running, settings_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Emulate = Callable[..., Awaitable[str]]

AUDIO = sample("slushy.wav")
NEWSROOM = "hf_gw_of_the_newsroom"


@pytest.fixture
async def settings(emulate: Emulate) -> Settings:
    """Return a gateway's settings with a model at two providers, and any other name at one."""
    accounts = {
        "hf": emulated_account("hf-inference", await emulate("hf-inference")),
        "di": emulated_account("deepinfra", await emulate("deepinfra")),
    }
    made = routed("openai/whisper-large-v3", accounts, "di/openai/whisper-large-v3", "hf/openai/whisper-large-v3")
    return made.model_copy(update={"models": {**made.models, "*": Route(targets=(Target(target="hf/{model}"),))}})


@pytest.fixture
async def url(settings: Settings) -> AsyncIterator[str]:
    async with running(settings) as (url, _):
        yield url


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def test_the_headers_of_an_answer(url: str, session: aiohttp.ClientSession) -> None:
    async with session.post(f"{url}/models/openai/whisper-large-v3", data=AUDIO) as answer:
        ours = {name: value for name, value in answer.headers.items() if name.startswith(("X-Gateway", "X-Audio"))}

    assert ours == {
        "X-Gateway-Provider": "di",
        "X-Gateway-Model": "openai/whisper-large-v3",
        "X-Gateway-Attempts": "1",
        "X-Gateway-Cache": "bypass",
        "X-Gateway-Cost": "0.000102675",
        "X-Audio-Duration": "13.690",
    }


async def test_an_answer_says_what_it_cost(emulate: Emulate, session: aiohttp.ClientSession) -> None:
    """In plain digits, however little; nothing where somebody has paid for it; not at all where nobody knows."""
    hub = emulated_account("hf-inference", await emulate("hf-inference"))
    targets = {"priced": Target(target="hub/a", usd_per_minute=0.00002), "unpriced": Target(target="hub/b")}
    made = settings_with().model_copy(
        update={
            "providers": {"hub": hub},
            "models": {name: Route(targets=(target,)) for name, target in targets.items()},
            "cache": Cache(),
        }
    )
    async with running(made) as (url, _):
        told = []
        for model in ("priced", "priced", "unpriced"):
            async with session.post(f"{url}/models/{model}", data=AUDIO) as answer:
                assert answer.status == 200
                told.append((answer.headers["X-Gateway-Cache"], answer.headers.get("X-Gateway-Cost")))

    assert told == [("miss", "0.000004563"), ("hit", "0"), ("miss", None)]


async def test_a_name_without_a_route_goes_the_wildcards_way(url: str, session: aiohttp.ClientSession) -> None:
    async with session.post(f"{url}/models/someone/wav2vec2", data=AUDIO) as answer:
        assert (answer.status, answer.headers["X-Gateway-Provider"]) == (200, "hf")
        assert answer.headers["X-Gateway-Model"] == "someone/wav2vec2"


async def test_an_account_in_the_path_is_the_only_one(url: str, session: aiohttp.ClientSession) -> None:
    async with session.post(f"{url}/hf/models/openai/whisper-large-v3", data=AUDIO) as answer:
        assert (answer.status, answer.headers["X-Gateway-Provider"]) == (200, "hf")
    async with session.post(f"{url}/di/models/someone/wav2vec2", data=AUDIO) as answer:
        assert (answer.status, (await answer.json())["type"]) == (404, "unknown-model")


async def ask(url: str, session: aiohttp.ClientSession, **parameters: Any) -> tuple[int, dict[str, Any], str | None]:
    """Return status, body, and what was ignored, of a form with JSON in its fields."""
    form = aiohttp.FormData(default_to_multipart=True)
    for name, value in parameters.items():
        form.add_field(name, value if isinstance(value, str) else json.dumps(value))
    form.add_field("file", AUDIO, filename="a.wav")
    async with session.post(f"{url}/models/openai/whisper-large-v3", data=form) as answer:
        return answer.status, await answer.json(), answer.headers.get("X-Gateway-Ignored-Parameters")


async def test_options_of_the_one_that_answers(url: str, session: aiohttp.ClientSession) -> None:
    status, _, ignored = await ask(url, session, provider_options={"deepinfra": {"chunk_length_s": 20}})

    assert (status, ignored) == (200, None)


async def test_options_of_another_are_named(url: str, session: aiohttp.ClientSession) -> None:
    """They were meant for whom they name; that somebody else answered is told."""
    status, _, ignored = await ask(url, session, provider_options={"fal-ai": {"batch_size": 4, "num_speakers": 2}})

    assert (status, ignored) == (200, "provider_options.fal-ai.batch_size, provider_options.fal-ai.num_speakers")


@pytest.mark.parametrize(
    ("options", "param", "allowed"),
    [
        ({"nobody": {}}, "provider_options.nobody", f"one of {', '.join(sorted(PROVIDERS))}"),
        (
            {"deepinfra": {"webhook": "https://a"}},
            "provider_options.deepinfra.webhook",
            "deepinfra has no such option; it has chunk_length_s, version",
        ),
        (
            {"deepinfra": {"chunk_length_s": 31}},
            "provider_options.deepinfra.chunk_length_s",
            "deepinfra takes a whole number from 1 to 30 here",
        ),
        ({"deepinfra": {"chunk_length_s": "20"}}, "provider_options.deepinfra.chunk_length_s", "a whole number"),
        ({"hf-inference": {"x": 1}}, "provider_options.hf-inference.x", "no such option; it has none"),
        (
            {"together": {"min_speakers": 3, "max_speakers": 2}},
            "provider_options.together",
            "together: min_speakers is more",
        ),
    ],
)
async def test_options_are_an_allow_list(
    url: str, session: aiohttp.ClientSession, options: dict[str, Any], param: str, allowed: str
) -> None:
    status, body, _ = await ask(url, session, provider_options=options)

    assert (status, body["param"]) == (422, param)
    assert allowed in body["error"]
    assert "https://a" not in body["error"]


async def test_a_key_opens_the_models_it_names(settings: Settings, session: aiohttp.ClientSession) -> None:
    digest = "sha256:" + hashlib.sha256(NEWSROOM.encode()).hexdigest()
    auth = Auth(mode=AuthMode.KEYS, keys=(Key(name="newsroom", hash=digest, models=("openai/*",)),))
    headers = {"Authorization": f"Bearer {NEWSROOM}"}
    async with running(settings.model_copy(update={"auth": auth})) as (url, _):
        async with session.post(f"{url}/models/openai/whisper-large-v3", data=AUDIO, headers=headers) as answer:
            assert answer.status == 200
        async with session.post(f"{url}/models/someone/wav2vec2", data=AUDIO, headers=headers) as answer:
            assert (answer.status, (await answer.json())["type"]) == (403, "model-not-allowed")
        async with session.post(f"{url}/models/openai/whisper-large-v3", data=AUDIO) as answer:
            assert answer.status == 401


async def test_passthrough_shows_a_token_to_the_pinned_account_alone(
    settings: Settings, session: aiohttp.ClientSession
) -> None:
    """The emulator accepts its own key only: the caller's token is what reaches it."""
    auth = Auth(mode=AuthMode.PASSTHROUGH)
    async with running(settings.model_copy(update={"auth": auth})) as (url, _):
        pinned = f"{url}/hf/models/openai/whisper-large-v3"
        async with session.post(pinned, data=AUDIO, headers={"Authorization": "Bearer emulated-key"}) as answer:
            assert (answer.status, answer.headers["X-Gateway-Attempts"]) == (200, "1")
        async with session.post(pinned, data=AUDIO, headers={"Authorization": "Bearer hf_another"}) as answer:
            body = await answer.json()
            assert (answer.status, body["type"]) == (401, "unauthorized")
            assert "hf_another" not in str(body)
        anybody = f"{url}/models/openai/whisper-large-v3"
        async with session.post(anybody, data=AUDIO, headers={"Authorization": "Bearer emulated-key"}) as answer:
            assert (answer.status, (await answer.json())["type"]) == (403, "account-needed")


async def test_longer_than_allowed_goes_nowhere(settings: Settings, session: aiohttp.ClientSession) -> None:
    server = settings.server.model_copy(update={"max_duration": 5.0})
    async with running(settings.model_copy(update={"server": server})) as (url, gateway):
        async with session.post(f"{url}/models/openai/whisper-large-v3", data=AUDIO) as answer:
            assert (answer.status, (await answer.json())["type"]) == (413, "too-long")
        attempts = gateway.metrics.registry.get_sample_value(
            "asr_attempts_total", {"deployment": "di/openai/whisper-large-v3", "outcome": "ok"}
        )
    assert attempts is None


async def test_nothing_of_an_upload_is_kept(settings: Settings, session: aiohttp.ClientSession) -> None:
    """Neither after an answer nor after a refusal; what must be transcoded included."""
    spool = settings.server.spool.model_copy(update={"memory_per_upload": 1024, "memory_total": 4096})
    server = settings.server.model_copy(update={"spool": spool})
    aiff = encoded(tone(1, 16_000), 16_000, "aiff", "pcm_s16be")
    async with running(settings.model_copy(update={"server": server})) as (url, gateway):
        for path, audio in (
            ("openai/whisper-large-v3", aiff),
            ("a..b", AUDIO),
            ("openai/whisper-large-v3", AUDIO[:50]),
        ):
            async with session.post(f"{url}/models/{path}", data=audio) as answer:
                await answer.read()
            assert (gateway.spool.memory_used, gateway.spool.disk_used) == (0, 0)
