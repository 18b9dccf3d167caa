"""The values that move between callers, planning and providers."""

from __future__ import annotations

from providers.emulators.ear import as_audio
from providers.provider import ProviderOptions
from providers.types import GENERATION_NAMES, Account, Deployment, GenerationParameters, TranscriptionJob, option_values


class AcmeOptions(ProviderOptions):
    smart_format: bool | None = None
    keyterm: str | None = None


def test_the_specification_has_sixteen_generation_parameters() -> None:
    assert len(GENERATION_NAMES) == 16


def test_only_what_was_given_is_passed_on() -> None:
    """False and 0 are values; unknown is None."""
    asked = GenerationParameters(temperature=0.0, do_sample=False, early_stopping="never")

    assert dict(asked.given()) == {"temperature": 0.0, "do_sample": False, "early_stopping": "never"}
    assert dict(GenerationParameters().given()) == {}


def test_options_are_those_of_one_adapter() -> None:
    job = TranscriptionJob(model="m", audio=as_audio(b""), provider_options={"acme": AcmeOptions(smart_format=False)})

    assert option_values(job, "acme") == {"smart_format": False}
    assert option_values(job, "slowpoke") == {}


def test_a_deployment_is_named_by_account_and_model() -> None:
    account = Account(name="gpu-1", adapter="openai-compatible", base_urls={})

    assert Deployment(account=account, native_model="openai/whisper-1").name == "gpu-1/openai/whisper-1"
