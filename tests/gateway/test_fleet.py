"""Configuration to deployments, and models that are loaded while requests already arrive."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import aiohttp
import pytest
from pydantic import SecretStr

from config.catalog import load_catalog
from config.faults import BadConfiguration
from config.settings import AccountSettings, Route, Settings, Target
from gateway.defaults import DEMO_MODEL
from gateway.fleet import Fleet, build_elsewhere, build_local, build_routes
from providers.local.models import EMBEDDED, ModelMissing
from providers.local.provider import LocalModel
from providers.local.remote import EngineElsewhere
from providers.transport import new_session
from providers.types import Capabilities, Timestamps
from tests.conftest import sample, whisper
from tests.engines import Echo
from tests.gateway.dispatch.conftest import deployment
from tests.serving import emulated_account, routed, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from gateway.dispatch.routes import Routes
    from gateway.fleet import LocalBackend
    from providers.types import Deployment

CATALOG = load_catalog()
ACCOUNTS = {
    "local": AccountSettings(adapter="local"),
    "hf": AccountSettings(adapter="hf-inference"),
    "deepinfra": AccountSettings.model_validate({"adapter": "deepinfra", "api_key": "k"}),
    "engine": AccountSettings(adapter="engine", base_url="http://gpu1:8100/", api_key=SecretStr("k")),
    "gpu": AccountSettings(adapter="openai-compatible", base_url="http://gpu:8000/v1/"),
    "odd": AccountSettings(adapter="openai-compatible", base_url="http://odd", options={"server": "unheard-of"}),
}


def settings(model: str, *targets: Target | str) -> Settings:
    whole = tuple(Target(target=each) if isinstance(each, str) else each for each in targets)
    return Settings(providers=ACCOUNTS, models={model: Route(targets=whole)})


def routes(model: str, *targets: Target | str) -> Routes:
    return build_routes(settings(model, *targets), CATALOG)


class TestRoutes:
    """What a target becomes, and what cannot be one."""

    def test_an_account_keeps_its_addresses(self) -> None:
        account = routes("m", "gpu/any").by_model["m"].deployments[0].account

        assert (account.name, account.adapter, account.base_urls) == (
            "gpu",
            "openai-compatible",
            {"api": "http://gpu:8000/v1"},
        )

    def test_what_is_not_said_is_the_providers_own(self) -> None:
        account = routes("m", "deepinfra/x").by_model["m"].deployments[0].account

        assert account.base_urls == {"api": "https://api.deepinfra.com/v1"}

    def test_a_local_account_alone_is_the_embedded_model(self) -> None:
        assert routes("m", "local").by_model["m"].deployments[0].name == f"local/{EMBEDDED}"

    def test_the_name_goes_where_the_target_wants_it(self) -> None:
        named = routes("someone/w2v", "hf/{model}").by_model["someone/w2v"]

        assert named.deployments[0].native_model == "someone/w2v"
        assert routes("*", "hf/{model}").by_model["*"].deployments[0].native_model == "{model}"

    @pytest.mark.parametrize(
        ("model", "target", "fault"),
        [
            ("*", "local/{model}", "is loaded at the start, so it must be named"),
            ("*", "hf/openai/whisper-tiny.en", r"would answer for every name: put \{model\} into it"),
            ("openai/whisper-large-v3", "local/tiny.en", "is another model, openai/whisper-tiny.en: say substitute"),
            ("*", "engine/{model}", "is loaded at the start, so it must be named"),
            ("m", "engine", "names no model of the engine"),
            ("whisper-1", "engine/large-v3", "is another model, openai/whisper-large-v3"),
            ("whisper-1", "local/large-v3", "is another model, openai/whisper-large-v3"),
            ("m", "odd/x", "does not fit: account odd: options.server is 'unheard-of'"),
        ],
    )
    def test_a_target_that_cannot_be_one(self, model: str, target: str, fault: str) -> None:
        with pytest.raises(
            BadConfiguration, match=rf"models\.{model.replace('*', '.')}: target {target} ".replace("{", r"\{") + fault
        ):
            routes(model, target)

    @pytest.mark.parametrize(
        ("model", "target"),
        [("*", "local/tiny.en"), ("whisper-1", "local/large-v3"), ("whisper-1", "deepinfra/openai/whisper-large-v3")],
    )
    def test_another_model_may_answer_where_the_operator_says_so(self, model: str, target: str) -> None:
        assert routes(model, Target(target=target, substitute=True)).by_model[model].deployments

    @pytest.mark.parametrize(
        ("model", "target"), [("fast", "deepinfra/openai/whisper-large-v3-turbo"), ("whisper-1", "gpu/whatever")]
    )
    def test_a_name_of_ones_own_means_what_one_likes(self, model: str, target: str) -> None:
        """Nor is anything known of a model on a server of one's own."""
        assert routes(model, target).by_model[model].deployments


class Engine(Echo):
    """An engine that waits to be loaded."""

    capabilities = Capabilities(timestamps=frozenset(Timestamps))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with new_session() as opened:
        yield opened


class TestLoading:
    """Local models, one after another."""

    def fleet(self, session: aiohttp.ClientSession, load: Callable[[str], Engine], *targets: str) -> Fleet:
        made = settings("m", *targets)

        def make(deployment: Deployment, account: AccountSettings) -> LocalBackend:
            return LocalModel(deployment.native_model, load, made_for=account)

        return Fleet(session, build_local(build_routes(made, CATALOG), made, make))

    async def test_one_model_is_loaded_once(self, session: aiohttp.ClientSession) -> None:
        loaded: list[str] = []

        def load(native: str) -> Engine:
            loaded.append(native)
            return Engine()

        fleet = self.fleet(session, load, "local/one", "hf/x", "local/two", "local/one")
        assert fleet.loading
        await fleet.load()

        assert (loaded, fleet.loading, fleet.missing) == (["one", "two"], False, [])
        assert fleet.capabilities(deployment("local/one", "local")) == Engine.capabilities
        await fleet.close()

    async def test_a_missing_one_is_told_and_the_next_is_loaded(self, session: aiohttp.ClientSession) -> None:
        def load(native: str) -> Engine:
            if native == "gone":
                raise ModelMissing("install it")
            return Engine()

        fleet = self.fleet(session, load, "local/gone", "local/there")
        await fleet.load()

        assert (fleet.missing, fleet.loading) == (["install it"], False)
        assert fleet.capabilities(deployment("local/gone", "local")) is None
        await asyncio.wait_for(fleet.wait_loaded([deployment("local/gone", "local")]), 5)
        await fleet.close()

    async def test_waiting_ends_with_the_first_that_can_serve(self, session: aiohttp.ClientSession) -> None:
        second = threading.Event()

        def load(native: str) -> Engine:
            if native == "two":
                second.wait()
            return Engine()

        fleet = self.fleet(session, load, "local/one", "local/two")
        both = [deployment("local/one", "local"), deployment("local/two", "local")]
        async with asyncio.TaskGroup() as group:
            loading = group.create_task(fleet.load())
            await fleet.wait_loaded(both)
            assert not loading.done()
            waiting = group.create_task(fleet.wait_loaded(both[1:]))
            await asyncio.sleep(0)
            assert not waiting.done()
            second.set()
        await fleet.close()

    async def test_nobody_waits_where_a_provider_can_serve(self, session: aiohttp.ClientSession) -> None:
        fleet = self.fleet(session, lambda _: Engine(), "local/one", "hf/x")

        await fleet.wait_loaded([deployment("local/one", "local"), deployment("hf/x", "hf-inference")])

    async def test_closing_ends_the_wait(self, session: aiohttp.ClientSession) -> None:
        fleet = self.fleet(session, lambda _: Engine(), "local/one")
        async with asyncio.TaskGroup() as group:
            group.create_task(fleet.wait_loaded([deployment("local/one", "local")]))
            await asyncio.sleep(0)
            await fleet.close()


async def test_a_request_that_comes_before_the_model_is_loaded_is_answered_after(
    emulate: Callable[..., Awaitable[str]],
) -> None:
    """The socket listens first: what arrives meanwhile waits, and what a provider can do does not."""
    from gateway.app import Gateway  # noqa: PLC0415
    from gateway.serve import Server  # noqa: PLC0415

    whisper()  # its files are warm now, so that loading takes a moment and not seconds
    made = routed(DEMO_MODEL, {"local": AccountSettings(adapter="local")}, f"local/{EMBEDDED}")
    gateway = Gateway(made)
    server = Server(gateway)
    url = f"http://127.0.0.1:{(await server.start()).callers}"
    audio = sample("sb_spk2_snt1.flac")
    try:
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            early = group.create_task(post(session, f"{url}/models/{DEMO_MODEL}", audio))
            async with session.get(f"{url}/health/ready") as ready:
                assert (ready.status, (await ready.json())["status"]) == (503, "loading")
            assert not early.done()
            await gateway.fleet.load()
    finally:
        await server.stop(1.0)

    status, body = early.result()
    assert (status, body) == (200, {"text": "We are sure that one war is enough."})


async def post(session: aiohttp.ClientSession, url: str, audio: bytes) -> tuple[int, object]:
    async with session.post(url, data=audio) as answer:
        return answer.status, await answer.json()


async def test_failover_goes_from_a_missing_local_model_to_a_provider(emulate: Callable[..., Awaitable[str]]) -> None:
    accounts = {
        "local": AccountSettings(adapter="local"),
        "there": emulated_account("deepinfra", await emulate("deepinfra")),
    }
    made = routed("m", accounts, "local//nowhere/model", "there/openai/whisper-large-v3")
    async with (
        running(made) as (url, _),
        aiohttp.ClientSession() as session,
        session.post(f"{url}/models/m", data=sample("slushy.wav")) as answer,
    ):
        assert (answer.status, answer.headers["X-Gateway-Provider"]) == (200, "there")
        assert (await answer.json())["text"].startswith("blake3 ")


def test_options_stand_in_the_addresses_that_name_them() -> None:
    options = {"region": "eu-west-1", "bucket": "b", "access_key_id": "AKID"}
    account = AccountSettings(adapter="aws-transcribe", api_key=SecretStr("s"), options=options)
    settings = Settings(providers={"aws": account}, models={"m": Route(targets=(Target(target="aws/standard"),))})

    (deployment,) = build_routes(settings, load_catalog()).by_model["m"].deployments
    assert deployment.account.base_urls == {
        "api": "https://transcribe.eu-west-1.amazonaws.com",
        "bucket": "https://b.s3.eu-west-1.amazonaws.com",
        "results": "https://s3.eu-west-1.amazonaws.com",
    }


def test_an_address_of_ones_own_is_not_the_providers_other_one() -> None:
    """Google's project is in the account's address; its storage is where it always is."""
    account = AccountSettings(
        adapter="google-stt", api_key=SecretStr("s"), base_url="https://eu-speech.googleapis.com/v2"
    )
    settings = Settings(providers={"g": account}, models={"m": Route(targets=(Target(target="g/chirp_2"),))})

    (deployment,) = build_routes(settings, load_catalog()).by_model["m"].deployments
    assert deployment.account.base_urls == {
        "api": "https://eu-speech.googleapis.com/v2",
        "storage": "https://storage.googleapis.com",
    }


async def test_a_model_at_an_engine_is_kept_until_its_account_changes() -> None:
    """A new key, in a file that is named as before, is used from the reload on."""
    async with new_session() as session:
        made = routes("m", "engine/tiny.en", "local/tiny.en")
        first = build_elsewhere(made, lambda account: EngineElsewhere(session, account))
        again = build_elsewhere(made, lambda account: EngineElsewhere(session, account), first)
        assert list(first) == ["engine/tiny.en"]
        assert again["engine/tiny.en"] is first["engine/tiny.en"]
        changed = ACCOUNTS | {"engine": ACCOUNTS["engine"].model_copy(update={"api_key": SecretStr("new")})}
        other = build_routes(settings("m", "engine/tiny.en").model_copy(update={"providers": changed}), CATALOG)
        assert build_elsewhere(other, lambda account: EngineElsewhere(session, account), first) != first
