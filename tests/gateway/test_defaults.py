"""A start without a configuration: whose usual key is set, that provider serves what it has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from config.auth import Auth, AuthMode
from config.catalog import load_catalog
from config.faults import BadConfiguration
from config.settings import AccountSettings, Route, Settings, Target
from config.tracing import Tracing
from gateway.defaults import DEMO_MODEL, DEMO_MULTILINGUAL_MODEL, check_adapters, demonstration, from_environment
from gateway.fleet import build_routes
from providers.local.models import EMBEDDED, MULTILINGUAL
from providers.registry import PROVIDERS

CATALOG = load_catalog()
VARIABLES = {name: provider.key_variable for name, provider in PROVIDERS.items() if provider.key_variable}


def targets(settings: Settings, model: str) -> list[str]:
    return [each.target for each in settings.models[model].targets]


def test_the_usual_variables() -> None:
    """As each provider's own SDK calls them."""
    assert VARIABLES == {
        "xai": "XAI_API_KEY",
        "elevenlabs": "ELEVENLABS_API_KEY",
        "revai": "REVAI_API_KEY",
        "sarvam": "SARVAM_API_KEY",
        "soniox": "SONIOX_API_KEY",
        "baseten": "BASETEN_API_KEY",
        "deepgram": "DEEPGRAM_API_KEY",
        "speechmatics": "SPEECHMATICS_API_KEY",
        "gladia": "GLADIA_API_KEY",
        "assemblyai": "ASSEMBLYAI_API_KEY",
        "deepinfra": "DEEPINFRA_API_KEY",
        "fal-ai": "FAL_KEY",
        "fireworks": "FIREWORKS_API_KEY",
        "gemini": "GEMINI_API_KEY",
        "groq": "GROQ_API_KEY",
        "mistral": "MISTRAL_API_KEY",
        "hf-inference": "HF_TOKEN",
        "lemonfox": "LEMONFOX_API_KEY",
        "openai": "OPENAI_API_KEY",
        "ovhcloud": "OVH_AI_ENDPOINTS_ACCESS_TOKEN",
        "sambanova": "SAMBANOVA_API_KEY",
        "scaleway": "SCW_SECRET_KEY",
        "telnyx": "TELNYX_API_KEY",
        "venice": "VENICE_API_KEY",
        "cohere": "CO_API_KEY",
        "openrouter": "OPENROUTER_API_KEY",
        "replicate": "REPLICATE_API_TOKEN",
        "together": "TOGETHER_API_KEY",
    }


@pytest.mark.parametrize(
    ("adapter", "variable"), [(name, key) for name, key in sorted(VARIABLES.items()) if CATALOG.native_models(name)]
)
def test_one_key_serves_what_that_provider_has(adapter: str, variable: str) -> None:
    settings = from_environment(Settings(), CATALOG, {variable: "key-1", "UNRELATED": "x"})

    assert list(settings.providers) == [adapter]
    assert settings.providers[adapter].api_key == SecretStr("key-1")
    has = [model for model, ids in CATALOG.models.items() if adapter in ids]
    assert [name for name in settings.models if name != "*"] == has
    assert all(targets(settings, model) == [f"{adapter}/{CATALOG.models[model][adapter]}"] for model in has)
    assert settings.default_model == has[0]
    check_adapters(settings)
    build_routes(settings, CATALOG)


def test_several_keys_stand_behind_each_other() -> None:
    """In the catalog's order; a name leads only to those who have that very model."""
    settings = from_environment(
        Settings(), CATALOG, {"HF_TOKEN": "hf_1", "OPENAI_API_KEY": "sk-1", "FAL_KEY": "f", "DEEPINFRA_API_KEY": ""}
    )

    assert set(settings.providers) == {"hf-inference", "openai", "fal-ai"}
    assert targets(settings, "openai/whisper-large-v3") == [
        "hf-inference/openai/whisper-large-v3",
        "fal-ai/fal-ai/whisper",
    ]
    assert targets(settings, "whisper-1") == ["openai/whisper-1"]
    assert not any(target.substitute for route in settings.models.values() for target in route.targets)
    assert "nvidia/parakeet-tdt-0.6b-v3" not in settings.models
    build_routes(settings, CATALOG)


def test_a_hub_token_serves_any_name() -> None:
    routes = build_routes(from_environment(Settings(), CATALOG, {"HF_TOKEN": "hf_1"}), CATALOG)

    assert routes.resolve("someone/wav2vec2").deployments[0].name == "hf-inference/someone/wav2vec2"
    assert "*" not in from_environment(Settings(), CATALOG, {"FAL_KEY": "f"}).models


def test_a_key_alone_enables_no_provider_whose_models_are_ones_own() -> None:
    alone = from_environment(Settings(), CATALOG, {"BASETEN_API_KEY": "b"})

    assert alone == from_environment(Settings(), CATALOG, {})
    assert set(from_environment(Settings(), CATALOG, {"BASETEN_API_KEY": "b", "FAL_KEY": "f"}).providers) == {"fal-ai"}


def test_without_a_key_it_is_a_demonstration() -> None:
    settings = from_environment(Settings(), CATALOG, {"HF_TOKEN": ""})

    assert settings == demonstration(Settings(), CATALOG, {EMBEDDED, MULTILINGUAL})
    assert set(settings.models) == set(CATALOG.models)
    check_adapters(settings)
    build_routes(settings, CATALOG)


def test_the_english_model_alone_answers_every_name() -> None:
    settings = demonstration(Settings(), CATALOG, {EMBEDDED})

    assert {target for name in settings.models for target in targets(settings, name)} == {"local/tiny.en"}
    assert [name for name, route in settings.models.items() if not route.targets[0].substitute] == [DEMO_MODEL]
    assert settings.default_model == DEMO_MODEL
    build_routes(settings, CATALOG)


def test_the_multilingual_model_answers_all_but_english_names() -> None:
    settings = demonstration(Settings(), CATALOG, {EMBEDDED, MULTILINGUAL})

    assert targets(settings, "openai/whisper-large-v3") == ["local/base"]
    assert [name for name in settings.models if targets(settings, name) == ["local/tiny.en"]] == [DEMO_MODEL]
    assert [name for name, route in settings.models.items() if not route.targets[0].substitute] == [
        DEMO_MODEL,
        DEMO_MULTILINGUAL_MODEL,
    ]
    assert settings.default_model == DEMO_MULTILINGUAL_MODEL


def test_a_configuration_is_left_alone() -> None:
    settings = Settings(
        providers={"a": AccountSettings(adapter="hf-inference")}, models={"m": Route(targets=(Target(target="a/x"),))}
    )

    assert from_environment(settings, CATALOG, {"OPENAI_API_KEY": "sk-1"}) is settings


def test_what_else_is_configured_stays() -> None:
    settings = Settings.model_validate({"server": {"port": 9000}, "default_model": "whisper-1"})

    found = from_environment(settings, CATALOG, {"OPENAI_API_KEY": "sk-1"})

    assert (found.server.port, found.default_model) == (9000, "whisper-1")


class TestAccounts:
    """What an account needs, by its adapter."""

    @pytest.mark.parametrize(
        ("account", "fault"),
        [
            ({"adapter": "opnai"}, "adapter: 'opnai' is not one of .*deepinfra, .*fal-ai, .*openai-compatible"),
            ({"adapter": "openai"}, r"api_key: missing; set it to \$\{OPENAI_API_KEY\} or name an api_key_file"),
            ({"adapter": "openai", "api_key": ""}, "api_key: missing"),
            ({"adapter": "cloudflare", "base_url": "https://a.example"}, "api_key: missing; write it or name"),
            ({"adapter": "openai", "api_key": "a b"}, "api_key: a key is printable ASCII without spaces"),
            ({"adapter": "openai", "api_key_file": "/nowhere"}, "api_key_file: /nowhere cannot be read"),
            ({"adapter": "openai-compatible"}, "base_url: missing; openai-compatible has no address of its own"),
            (
                {"adapter": "openai-compatible", "base_url": "http://a", "base_urls": {"queue": "http://b"}},
                "base_urls.queue: is not one that openai-compatible has: none; use base_url",
            ),
            (
                {"adapter": "fal-ai", "api_key": "k", "base_urls": {"qeue": "http://b"}},
                "base_urls.qeue: is not one that fal-ai has: api, queue, storage, cdn",
            ),
            ({"adapter": "openai", "api_key": "k", "device": "cuda"}, "device: means nothing to the adapter openai"),
            ({"adapter": "local", "api_key": "k"}, "api_key: means nothing to the adapter local"),
            ({"adapter": "engine"}, "base_url: missing; an engine is wherever you started it"),
            (
                {"adapter": "engine", "base_url": "http://a", "options": {"a": "b"}},
                "options: means nothing to the adapter engine",
            ),
            (
                {"adapter": "engine", "base_url": "http://a", "compute_type": "int8"},
                "compute_type: means nothing to the adapter engine",
            ),
            ({"adapter": "local", "base_url": "http://a"}, "base_url: means nothing to the adapter local"),
        ],
    )
    def test_a_fault_is_told_by_its_path(self, account: dict[str, object], fault: str) -> None:
        settings = Settings(providers={"mine": AccountSettings.model_validate(account)})

        with pytest.raises(BadConfiguration, match=rf"providers\.mine\.{fault}"):
            check_adapters(settings)

    @pytest.mark.parametrize(
        "account",
        [
            {
                "adapter": "local",
                "device": "cpu",
                "compute_type": "int8",
                "max_batch": 8,
                "max_wait": "10ms",
                "max_queue": 99,
            },
            {"adapter": "hf-inference"},
            {"adapter": "openai-compatible", "base_url": "http://a"},
            {"adapter": "fal-ai", "api_key": "k", "base_urls": {"queue": "http://b"}},
        ],
    )
    def test_what_is_enough(self, account: dict[str, object]) -> None:
        check_adapters(Settings(providers={"mine": AccountSettings.model_validate(account)}))

    def test_callers_bring_their_own_in_passthrough(self) -> None:
        account = AccountSettings(adapter="openai")

        check_adapters(Settings(auth=Auth(mode=AuthMode.PASSTHROUGH), providers={"mine": account}))


WITHOUT = """
import sys
sys.modules["opentelemetry.exporter"] = None
from gateway.cli import main
main(["check", sys.argv[1]])
"""


def test_traces_without_their_extra_stop_the_start_and_say_what_to_install(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("tracing: {endpoint: 'http://collector:4318'}\n")
    command = [sys.executable, "-c", WITHOUT, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert 'pip install "asr-gateway[traces]"' in done.stderr
    check_adapters(Settings(tracing=Tracing(endpoint="http://collector:4318")))
