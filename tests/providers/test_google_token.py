"""Tokens through google-auth, from those who give them: over real sockets, of keys made here."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from providers.errors import CredentialsRejected, ProviderUnavailable
from providers.registry import PROVIDERS, emulated_urls
from providers.transport import HttpProvider, new_session
from providers.types import Account, Deployment, Moment, TranscriptionJob
from tests.conftest import sample_audio, serve
from tests.driving import state
from tests.faulty import refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Emulate = Callable[..., Awaitable[str]]

CLOUD = "GOOGLE_APPLICATION_CREDENTIALS"


@pytest.fixture(autouse=True)
def no_cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the machine's own credentials out of this, and its metadata server's address."""
    monkeypatch.delenv(CLOUD, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture(scope="session")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def written(path: Path, document: object) -> str:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


def service_account(url: str, private_key: str) -> dict[str, str]:
    return {
        "type": "service_account",
        "project_id": "emulated",
        "private_key_id": "1",
        "private_key": private_key,
        "client_email": "speech@emulated.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"{url}/token",
    }


def workload(url: str, subject: str) -> dict[str, Any]:
    return {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/p",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{url}/v1/token",
        "credential_source": {"file": subject},
    }


async def hear(url: str, *, times: int = 1, **options: str) -> list[str]:
    """Have the emulator transcribe so often at once, let in by a token."""
    account = Account(name="a", adapter="google-stt", base_urls=emulated_urls("google-stt", url), options=options)
    job = TranscriptionJob(model="m", audio=sample_audio("slushy.mp3"))
    async with new_session() as session:
        client = HttpProvider(PROVIDERS["google-stt"], session)
        try:
            deadline = Moment(asyncio.get_running_loop().time() + 30)
            to = Deployment(account=account, native_model="chirp_2")
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(client.transcribe(job, to, deadline)) for _ in range(times)]
            return [task.result().text for task in tasks]
        except* (CredentialsRejected, ProviderUnavailable) as errors:
            raise errors.exceptions[0] from None
        finally:
            await client.close()


async def test_a_service_accounts_key_lets_all_in_with_one_token(
    emulate: Emulate, private_key: str, tmp_path: Path
) -> None:
    url = await emulate("google-stt")
    file = written(tmp_path / "key.json", service_account(url, private_key))
    heard = await hear(url, times=8, credentials_file=file)

    assert len(heard) == 8
    assert all(each.startswith("blake3 ") for each in heard)
    assert (await state(url))["tokens"] == 1


async def test_a_workload_exchanges_what_its_platform_gave_it(emulate: Emulate, tmp_path: Path) -> None:
    url = await emulate("google-stt")
    subject = written(tmp_path / "subject", "a.b.c")
    await hear(url, credentials_file=written(tmp_path / "pool.json", workload(url, subject)))

    assert (await state(url))["tokens"] == 1


async def test_what_the_machine_has_serves_too(
    emulate: Emulate, private_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await emulate("google-stt")
    monkeypatch.setenv(CLOUD, written(tmp_path / "key.json", service_account(url, private_key)))
    await hear(url)

    assert (await state(url))["tokens"] == 1


async def test_a_machine_without_credentials_is_the_operators_matter(emulate: Emulate) -> None:
    with pytest.raises(CredentialsRejected, match="to be found"):
        await hear(await emulate("google-stt"))


async def test_a_refused_subject_is_the_operators_matter(emulate: Emulate, tmp_path: Path) -> None:
    url = await emulate("google-stt")
    subject = written(tmp_path / "subject", "refused")
    with pytest.raises(CredentialsRejected, match="no token is given") as caught:
        await hear(url, credentials_file=written(tmp_path / "pool.json", workload(url, subject)))

    assert "invalid_grant" not in str(caught.value)


@pytest.mark.parametrize("document", ["{", '{"type": "odd"}', '{"type": "service_account"}', "[]"])
async def test_a_file_that_holds_none_is_the_operators_matter(emulate: Emulate, document: str, tmp_path: Path) -> None:
    with pytest.raises(CredentialsRejected, match="credentials_file"):
        await hear(await emulate("google-stt"), credentials_file=written(tmp_path / "key.json", document))


async def test_a_file_that_is_not_there_is_the_operators_matter(emulate: Emulate) -> None:
    with pytest.raises(CredentialsRejected, match="credentials_file"):
        await hear(await emulate("google-stt"), credentials_file="/nowhere/key.json")


async def test_where_nobody_answers_it_is_a_matter_of_time(emulate: Emulate, private_key: str, tmp_path: Path) -> None:
    file = written(tmp_path / "key.json", service_account(await refused(), private_key))
    with pytest.raises(ProviderUnavailable, match="no answer"):
        await hear(await emulate("google-stt"), credentials_file=file)


@pytest.fixture
async def overloaded() -> AsyncIterator[str]:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"error": "internal_failure"}, status=503)

    runners: list[web.AppRunner] = []
    app = web.Application()
    app.router.add_post("/token", answer)
    yield await serve(app, runners)
    await runners[0].cleanup()


async def test_a_giver_that_is_overloaded_is_a_matter_of_time(
    emulate: Emulate, private_key: str, tmp_path: Path, overloaded: str
) -> None:
    file = written(tmp_path / "key.json", service_account(overloaded, private_key))
    with pytest.raises(ProviderUnavailable, match="no token now"):
        await hear(await emulate("google-stt"), credentials_file=file)
