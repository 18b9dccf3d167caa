"""What is peculiar to Cloudflare: an envelope, JSON for one model and bytes for the others, a free part of each day."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from providers.cloudflare import CloudflareOptions, build_request, classify_error
from providers.errors import ProviderUnavailable, QuotaExhausted, RateLimited
from providers.exchange import Base64, HttpReply, HttpRequest
from providers.types import Account, Deployment, GenerationParameters, Task, TranscriptionJob
from tests.conftest import sample_audio

RUN = "https://api.cloudflare.com/client/v4/accounts/acc/ai/run"
TURBO = "@cf/openai/whisper-large-v3-turbo"


def request(model: str = TURBO, **wanted: Any) -> HttpRequest:
    account = Account(name="a", adapter="cloudflare", base_urls={"api": RUN})
    job = TranscriptionJob(model="m", audio=sample_audio("slushy.mp3"), **wanted)
    return build_request(job, Deployment(account=account, native_model=model))


def fields(**wanted: Any) -> dict[str, Any]:
    pieces = request(**wanted).body
    assert [type(each) for each in pieces] == [bytes, Base64, bytes]
    document: dict[str, Any] = json.loads(b"".join(piece if isinstance(piece, bytes) else b"..." for piece in pieces))
    return document


def test_the_newest_model_takes_all_there_is() -> None:
    assert request().url == f"{RUN}/{TURBO}"
    assert fields() == {"audio": "...", "task": "transcribe"}
    assert fields(
        task=Task.TRANSLATE,
        language="German",
        prompt="Slushy.",
        generation=GenerationParameters(num_beams=3, temperature=1.0),
        provider_options={"cloudflare": CloudflareOptions(vad_filter=True)},
    ) == {
        "audio": "...",
        "task": "translate",
        "language": "de",
        "initial_prompt": "Slushy.",
        "beam_size": 3,
        "vad_filter": True,
    }


def test_the_older_models_take_bytes_and_nothing_else() -> None:
    wanted = request(
        "@cf/openai/whisper", language="de", provider_options={"cloudflare": CloudflareOptions(prefix="a")}
    )

    assert (wanted.url, len(wanted.body)) == (f"{RUN}/@cf/openai/whisper", 1)
    assert wanted.headers == {"content-type": "application/octet-stream"}


@pytest.mark.parametrize("given", [{"no_speech_threshold": 2.0}, {"prefix": ""}, {"beam_size": 3}])
def test_options_have_limits(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CloudflareOptions(**given)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (429, b'{"errors": [{"code": 3036}]}', QuotaExhausted),
        (429, b'{"errors": [{"code": 3040}]}', RateLimited),
        (429, b'{"errors": [{"code": "3036"}]}', RateLimited),
        (429, b'{"errors": 7}', RateLimited),
        (429, b"\xff", RateLimited),
        (429, b"[" * 100_000, RateLimited),
        (500, b'{"errors": [{"code": 3036}]}', ProviderUnavailable),
    ],
)
def test_a_day_that_is_used_up_is_no_rate(status: int, body: bytes, error: type[Exception]) -> None:
    assert type(classify_error(HttpReply(status=status, body=body))) is error
