"""Which models an engine by itself serves."""

from __future__ import annotations

import pytest

from config.faults import BadConfiguration
from config.settings import AccountSettings, Route, Settings, Target, load
from gateway.standalone.serving import EngineSettings, native_name, with_local_models


def file(*targets: str) -> Settings:
    """Return a gateway's configuration that has other targets too."""
    accounts = {
        "cpu": AccountSettings(adapter="local", compute_type="float32"),
        "gpu": AccountSettings(adapter="local", device="cuda"),
        "hub": AccountSettings(adapter="hf-inference"),
    }
    whole = tuple(Target(target=each, substitute=True) for each in targets)
    return Settings(providers=accounts, models={"openai/whisper-tiny.en": Route(targets=whole)})


def served(settings: Settings) -> list[str]:
    return [target.target for route in settings.models.values() for target in route.targets]


def test_those_named_and_those_of_the_file_each_once() -> None:
    """A provider's models are none of the engine's business."""
    settings = with_local_models(file("hub/openai/whisper-tiny.en", "cpu/tiny.en"), ["/models/mine", "tiny.en"])
    assert served(settings) == ["cpu/tiny.en", "cpu//models/mine"]
    assert list(settings.providers) == ["cpu", "gpu"]
    assert settings.providers["cpu"].compute_type == "float32"


def test_without_a_file_they_are_loaded_as_a_local_account_would() -> None:
    settings = with_local_models(Settings(), ["tiny.en", "openai/whisper-large-v3@main"])
    assert served(settings) == ["local/tiny.en", "local/openai/whisper-large-v3@main"]


def test_a_model_is_asked_for_by_its_own_name() -> None:
    assert native_name("cpu/openai/whisper-large-v3@main") == "openai/whisper-large-v3@main"


def test_the_gateways_address_is_none_of_its_business(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image's variable says where a gateway listens, which would want keys there."""
    monkeypatch.setenv("ASR_GATEWAY_SERVER__HOST", "0.0.0.0")
    assert served(with_local_models(load(None, EngineSettings), ["tiny.en"])) == ["local/tiny.en"]
    with pytest.raises(BadConfiguration, match="anybody who reaches it"):
        load(None)


def test_an_engine_without_a_model_is_none() -> None:
    with pytest.raises(BadConfiguration, match="no local model"):
        with_local_models(file("hub/x"), [])


def test_a_name_that_means_two_models_is_refused() -> None:
    with pytest.raises(BadConfiguration, match="two local accounts"):
        with_local_models(file("cpu/tiny.en", "gpu/tiny.en"), [])
