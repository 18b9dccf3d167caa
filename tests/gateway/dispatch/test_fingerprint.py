"""The key: two jobs share it exactly where one's answer is the other's."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from pydantic import SecretStr

from config.reliability import Strategy
from config.settings import OnUnsupported
from gateway.dispatch.fingerprint import key_of, scope_of_token
from gateway.dispatch.routes import Route
from providers.fal_ai import FAL_AI
from providers.openai_compatible import OPENAI_COMPATIBLE
from providers.types import GENERATION_NAMES, GenerationParameters, Task, Timestamps, TranscriptionJob
from tests.conftest import sample_audio
from tests.gateway.dispatch.conftest import deployment, job, route

ROUTE = route("a/m", "b/m")
PLAIN = job()

OTHERS: dict[str, TranscriptionJob] = {
    "model": replace(PLAIN, model="another"),
    "audio": replace(PLAIN, audio=sample_audio("jfk.flac")),
    "task": replace(PLAIN, task=Task.TRANSLATE),
    "language": replace(PLAIN, language="en"),
    "prompt": replace(PLAIN, prompt="Names: Ada."),
    "timestamps": replace(PLAIN, timestamps=Timestamps.WORD),
    "generation": replace(PLAIN, generation=GenerationParameters(num_beams=2)),
    "diarize": replace(PLAIN, diarize=True),
    "provider_options": replace(PLAIN, provider_options={"fal-ai": FAL_AI.options.model_validate({"num_speakers": 2})}),
}


def test_every_field_of_a_job_is_tried() -> None:
    """Whoever adds one adds it above, and finds it in the key."""
    assert OTHERS.keys() == set(TranscriptionJob.__struct_fields__)


@pytest.mark.parametrize("name", OTHERS)
def test_another_job_has_another_key(name: str) -> None:
    assert key_of(OTHERS[name], ROUTE, "me") != key_of(PLAIN, ROUTE, "me")


@pytest.mark.parametrize("name", GENERATION_NAMES)
def test_each_generation_parameter_has_its_part(name: str) -> None:
    values = [replace(PLAIN.generation, **{name: value}) for value in (None, 0, 1)]
    assert len({key_of(replace(PLAIN, generation=each), ROUTE, "me") for each in values}) == 3


def test_each_provider_option_has_its_part() -> None:
    def with_seed(**options: object) -> TranscriptionJob:
        return replace(PLAIN, provider_options={"openai-compatible": OPENAI_COMPATIBLE.options.model_validate(options)})

    keys = {key_of(with_seed(**options), ROUTE, "me") for options in ({}, {"seed": 0}, {"seed": 1})}
    assert len(keys) == 3


def test_what_callers_invent_has_none() -> None:
    """The same bytes under another media type are the same audio."""
    renamed = replace(PLAIN, audio=replace(PLAIN.audio, media_type="audio/x-anything", duration_s=None))
    assert key_of(renamed, ROUTE, "me") == key_of(PLAIN, ROUTE, "me")


@pytest.mark.parametrize(
    "other",
    [
        route("a/m"),
        route("b/m", "a/m"),
        route("a/m", "b/other"),
        route("a/m", "c/m"),
        route("a/m", "b/m", on_unsupported=OnUnsupported.IGNORE),
        Route(deployments=(deployment("a/m", "openai"), deployment("b/m")), on_unsupported=OnUnsupported.REJECT),
    ],
)
def test_another_route_has_another_key(other: Route) -> None:
    """A reload, a pinned path or the demonstration must not answer for another model."""
    assert key_of(PLAIN, other, "me") != key_of(PLAIN, ROUTE, "me")


@pytest.mark.parametrize("change", [{"base_urls": {"api": "http://elsewhere"}}, {"options": {"revision": "2"}}])
def test_another_place_has_another_key(change: dict[str, dict[str, str]]) -> None:
    first = ROUTE.deployments[0]
    moved = replace(first, account=replace(first.account, **change))
    other = replace(ROUTE, deployments=(moved, *ROUTE.deployments[1:]))
    assert key_of(PLAIN, other, "me") != key_of(PLAIN, ROUTE, "me")


def test_what_a_deployment_is_told_besides_has_its_part() -> None:
    first, second = ROUTE.deployments
    told = replace(first, options=FAL_AI.options.model_validate({"num_speakers": 2}))
    keys = {key_of(PLAIN, replace(ROUTE, deployments=(each, second)), "s") for each in (first, told)}
    assert len(keys) == 2


def test_a_new_credential_opens_the_same_door() -> None:
    first = ROUTE.deployments[0]
    renewed = replace(first, account=replace(first.account, api_key=SecretStr("new")), weight=9.0)
    other = replace(ROUTE, deployments=(renewed, *ROUTE.deployments[1:]), strategy=Strategy.FASTEST)
    assert key_of(PLAIN, other, "me") == key_of(PLAIN, ROUTE, "me")


def test_scopes_are_apart() -> None:
    assert key_of(PLAIN, ROUTE, "me") != key_of(PLAIN, ROUTE, "you")


def test_a_token_cannot_be_told_from_its_scope() -> None:
    assert "hf_secret" not in scope_of_token("hf_secret")
    assert scope_of_token("hf_secret") == scope_of_token("hf_secret") != scope_of_token("hf_other")
