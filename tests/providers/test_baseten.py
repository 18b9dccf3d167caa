"""What is peculiar to Baseten: an address for each deployment, and JSON around the audio."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from providers.errors import JobUnsupported
from providers.exchange import Base64, HttpRequest
from providers.types import Timestamps
from tests.driving import at, first_request

if TYPE_CHECKING:
    from providers.types import Deployment

ANY = at("baseten", "abcd1234")


def addressed(native_model: str, base_url: str) -> Deployment:
    to = at("baseten", native_model)
    return replace(to, account=replace(to.account, base_urls={"api": base_url}))


def parameters(request: HttpRequest) -> dict[str, Any]:
    assert [type(piece) for piece in request.body] == [bytes, Base64, bytes]
    said = json.loads(b"".join(piece for piece in request.body if isinstance(piece, bytes)))
    asked: dict[str, Any] = said["whisper_input"]
    assert (said.keys(), asked["audio"]) == ({"whisper_input"}, {"audio_b64": ""})
    told: dict[str, Any] = asked["whisper_params"]
    return told


def test_a_language_is_named_or_listened_for() -> None:
    assert parameters(first_request(ANY)) == {"audio_language": "auto"}
    assert parameters(first_request(ANY, language="fr-CA", prompt="Ünal", timestamps=Timestamps.SEGMENT)) == {
        "audio_language": "fr",
        "prompt": "Ünal",
    }


def test_a_deployment_has_its_own_address() -> None:
    assert first_request(ANY).url == "https://model-abcd1234.api.baseten.co/environments/production/predict"
    staging = addressed("abcd1234", "https://model-{model}.api.baseten.co/environments/staging")
    assert first_request(staging).url == "https://model-abcd1234.api.baseten.co/environments/staging/predict"


def test_an_account_may_have_another_address() -> None:
    """Then the name is the operator's own, and stands in no host."""
    assert first_request(addressed("my whisper", "https://asr.example/v1")).url == "https://asr.example/v1/predict"


@pytest.mark.parametrize(
    "native", ["", "abc", "evil.example/", "abcd1234.evil.example", "ABCD1234", "abcd1234\n", "{model}"]
)
def test_what_is_no_id_becomes_part_of_no_host(native: str) -> None:
    """A route for any name takes it from the caller."""
    with pytest.raises(JobUnsupported, match="letters and digits"):
        first_request(at("baseten", native))
