"""The catalog against the adapters it speaks of, and its prices against the lists they come from."""

from __future__ import annotations

import re

import pytest
from faster_whisper import available_models

from config.catalog import Catalog, load_catalog
from config.settings import AccountSettings, Route, Settings, Target
from gateway.dispatch.routes import cost_of
from gateway.fleet import build_routes
from providers import (
    assemblyai,
    azure_openai,
    azure_speech,
    cloudflare,
    cohere,
    deepgram,
    deepinfra,
    elevenlabs,
    fal_endpoints,
    fireworks,
    gemini,
    gladia,
    google_stt,
    groq,
    mistral,
    openai,
    openai_hosts,
    openrouter,
    replicate,
    revai,
    sarvam,
    soniox,
    speechmatics,
    together,
    xai,
)
from providers.local.provider import NAME as LOCAL
from providers.registry import PROVIDERS

CATALOG = load_catalog()
IDS = [(model, adapter, native) for model, ids in CATALOG.models.items() for adapter, native in ids.items()]
KNOWN = {
    "cloudflare": set(cloudflare.MODELS),
    "xai": set(xai.MODELS),
    "elevenlabs": set(elevenlabs.MODELS),
    "revai": set(revai.MODELS),
    "soniox": set(soniox.MODELS),
    "deepgram": set(deepgram.MODELS),
    "speechmatics": set(speechmatics.MODELS),
    "gladia": set(gladia.MODELS),
    "assemblyai": set(assemblyai.MODELS),
    "deepinfra": set(deepinfra.MODELS),
    "fal-ai": set(fal_endpoints.ENDPOINTS),
    "gemini": set(gemini.MODELS),
    "google-stt": set(google_stt.MODELS),
    "sarvam": set(sarvam.MODELS),
    "openai": set(openai.MODELS),
    "replicate": set(replicate._MODELS),
    "together": set(together.MODELS),
    "groq": set(groq.MODELS),
    "azure-speech": set(azure_speech.MODELS),
    "cohere": set(cohere.MODELS),
    "openrouter": set(openrouter.MODELS),
    "fireworks": set(fireworks.MODELS),
    "mistral": set(mistral.MODELS),
    "azure-openai": set(azure_openai.MODELS),
    **{name: set(models) for name, models in openai_hosts.MODELS.items()},
    LOCAL: set(available_models()),
}
# US dollars for a minute of audio, as the makers' pages say (2026-11).
LIST = {
    ("cloudflare", "@cf/openai/whisper-large-v3-turbo"): 0.00051,
    ("xai", "grok-voice-transcribe-2.0"): 0.00167,
    ("elevenlabs", "scribe_v2"): 0.0037,
    ("revai", "machine"): 0.0033,
    ("revai", "low_cost"): 0.00167,
    ("revai", "fusion"): 0.005,
    ("soniox", "stt-async-v5"): 0.00167,
    ("soniox", "stt-async-v4"): 0.00167,
    ("deepgram", "nova-3"): 0.0043,
    ("deepgram", "nova-3-medical"): 0.0052,
    ("deepgram", "nova-2"): 0.0043,
    ("speechmatics", "enhanced"): 0.004,
    ("speechmatics", "standard"): 0.004,
    ("gladia", "solaria-1"): 0.0102,
    ("gladia", "solaria-3"): 0.0102,
    ("assemblyai", "universal-3-5-pro"): 0.0035,
    ("assemblyai", "universal-2"): 0.0025,
    ("deepinfra", "openai/whisper-large-v3"): 0.00045,
    ("deepinfra", "openai/whisper-large-v3-turbo"): 0.00020,
    ("deepinfra", "distil-whisper/distil-large-v3"): 0.00018,
    ("deepinfra", "mistralai/Voxtral-Mini-3B-2507"): 0.001,
    ("google-stt", "chirp_3"): 0.016,
    ("google-stt", "chirp_2"): 0.016,
    ("aws-transcribe", "standard"): 0.024,
    ("ibm-watson", "en-US_Multimedia"): 0.02,
    ("ibm-watson", "multimedia"): 0.02,
    ("ibm-watson", "telephony"): 0.02,
    ("ibm-watson", "large"): 0.02,
    ("sarvam", "saaras:v4"): 0.0059,
    ("sarvam", "saaras:v3"): 0.0059,
    ("gemini", "gemini-3.5-transcribe"): 0.003,
    ("gemini", "gemini-3.5-flash"): 0.0047,
    ("gemini", "gemini-2.5-flash"): 0.0024,
    ("gemini", "gemini-2.5-flash-lite"): 0.00066,
    ("together", "openai/whisper-large-v3"): 0.0015,
    ("groq", "whisper-large-v3"): 0.00185,
    ("groq", "whisper-large-v3-turbo"): 0.000667,
    ("fireworks", "whisper-v3"): 0.0015,
    ("fireworks", "whisper-v3-turbo"): 0.0009,
    ("openrouter", "openai/whisper-large-v3"): 0.00185,
    ("openrouter", "openai/whisper-large-v3-turbo"): 0.000667,
    ("openrouter", "openai/whisper-1"): 0.006,
    ("azure-speech", "fast"): 0.011,
    ("lemonfox", "whisper-1"): 0.00278,
    ("venice", "openai/whisper-large-v3"): 0.006,
    ("venice", "nvidia/parakeet-tdt-0.6b-v3"): 0.006,
    ("mistral", "voxtral-mini-transcribe-3-0"): 0.0035,
    ("mistral", "voxtral-small-transcribe-3-0"): 0.004,
    ("mistral", "voxtral-mini-2602"): 0.003,
    ("azure-openai", "whisper"): 0.006,
    ("azure-openai", "gpt-transcribe"): 0.0045,
    ("azure-openai", "gpt-4o-mini-transcribe"): 0.003,
    ("azure-openai", "gpt-4o-transcribe-diarize"): 0.006,
    ("openai", "whisper-1"): 0.006,
    ("openai", "gpt-transcribe"): 0.0045,
    ("openai", "gpt-4o-transcribe"): 0.006,
    ("openai", "gpt-4o-mini-transcribe"): 0.003,
    ("openai", "gpt-4o-transcribe-diarize"): 0.006,
}


@pytest.mark.parametrize(("model", "adapter", "native"), IDS)
def test_an_adapter_knows_its_ids(model: str, adapter: str, native: str) -> None:
    """Where an adapter has a table, the catalog's id is in it; every adapter exists."""
    assert adapter in {*PROVIDERS, LOCAL}
    assert not {native, native.partition(":")[0]}.isdisjoint(KNOWN.get(adapter, {native}))
    assert CATALOG.canonical(adapter, native) == model


def test_names_are_model_names() -> None:
    settings = Settings(
        providers={"a": AccountSettings(adapter="hf-inference")},
        models={name: Route(targets=(Target(target="a/x"),)) for name in CATALOG.models},
    )

    assert list(settings.models) == list(CATALOG.models)


@pytest.mark.parametrize(("adapter", "native"), [(a, n) for a, prices in CATALOG.prices.items() for n in prices])
def test_a_minute_costs_what_the_list_says(adapter: str, native: str) -> None:
    """And the list is named, with its month. Nothing but one's own machine costs nothing."""
    price = CATALOG.prices[adapter][native]

    assert price.usd_per_minute == (0.0 if adapter == LOCAL else LIST[adapter, native])
    assert price.usd_per_minute > 0 or adapter == LOCAL
    assert price.source
    assert re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", price.date)


def test_no_price_of_the_list_is_missing() -> None:
    assert {(a, n) for a, prices in CATALOG.prices.items() for n in prices if a != LOCAL} == LIST.keys()


def test_every_price_is_of_a_model_the_catalog_names() -> None:
    assert {(a, n) for a, prices in CATALOG.prices.items() for n in prices} <= {(a, n) for _, a, n in IDS}


@pytest.mark.parametrize(("model", "adapter", "native"), IDS)
def test_a_deployment_carries_its_price(model: str, adapter: str, native: str) -> None:
    """An unknown price is None, never zero."""
    account = AccountSettings.model_validate({"adapter": adapter, **({} if adapter == LOCAL else {"api_key": "k"})})
    settings = Settings(providers={"a": account}, models={model: Route(targets=(Target(target=f"a/{native}"),))})

    deployment = build_routes(settings, CATALOG).by_model[model].deployments[0]

    assert (deployment.price and deployment.price.usd_per_minute) == (
        0.0 if adapter == LOCAL else LIST.get((adapter, native))
    )
    assert cost_of(deployment, 60.0) == (0.0 if adapter == LOCAL else pytest.approx(LIST.get((adapter, native))))


def test_what_is_not_known() -> None:
    assert CATALOG.price("deepinfra", "unknown") is None
    assert CATALOG.price("unknown", "whisper-1") is None
    assert CATALOG.canonical("openai", "unknown") is None


def test_a_misspelt_catalog_is_refused() -> None:
    with pytest.raises(ValueError, match="usd_per_hour"):
        Catalog.model_validate({"models": {}, "prices": {"a": {"b": {"usd_per_hour": 1, "source": "s", "date": "d"}}}})
