"""Credentials through botocore's chain, from whoever gives them: over real sockets, on a machine without any."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from providers.errors import CredentialsRejected, ProviderUnavailable
from providers.registry import PROVIDERS, emulated_urls
from providers.transport import HttpProvider, new_session
from providers.types import Account, Deployment, Moment, TranscriptionJob
from tests.conftest import KEY, sample_audio, serve
from tests.faulty import refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Emulate = Callable[..., Awaitable[str]]

ROLE = "arn:aws:iam::123456789012:role/speech"
SESSION = "session-secret"


@dataclass
class Givers:
    """The security token service, a container's endpoint and an instance's, in one.

    Source: botocore's service model of sts; the SDK reference's pages on container and IMDS credentials.
    """

    url: str = ""
    asked: list[str] = field(default_factory=list)
    status: int = 200
    code: str = "AccessDenied"
    lasts_s: float = 3600.0
    secret: str = KEY

    def _ends(self) -> str:
        return (datetime.now(UTC) + timedelta(seconds=self.lasts_s)).strftime("%Y-%m-%dT%H:%M:%SZ")

    async def sts(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        action = str(form["Action"])
        signed = re.search(r"Credential=(\w+)/", request.headers.get("authorization", ""))
        more = form.get("WebIdentityToken") or (signed[1] if signed else "nobody")
        self.asked.append(" ".join(map(str, (action, form["RoleArn"], more, form.get("ExternalId", "")))).strip())
        if self.status != 200:
            text = f"<ErrorResponse><Error><Code>{self.code}</Code><Message>no</Message></Error></ErrorResponse>"
            return web.Response(status=self.status, text=text, content_type="text/xml")
        given = (
            f"<AccessKeyId>AKIDEMULATED</AccessKeyId><SecretAccessKey>{self.secret}</SecretAccessKey>"
            f"<SessionToken>{SESSION}</SessionToken><Expiration>{self._ends()}</Expiration>"
        )
        text = (
            f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>'
            f"<Credentials>{given}</Credentials></{action}Result></{action}Response>"
        )
        return web.Response(text=text, content_type="text/xml")

    async def container(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"container {request.headers.get('authorization')}")
        return web.json_response(self._document(), status=self.status)

    async def instance_token(self, _: web.Request) -> web.StreamResponse:
        return web.Response(text="imds-token")

    async def instance_role(self, request: web.Request) -> web.StreamResponse:
        assert request.headers["x-aws-ec2-metadata-token"] == "imds-token"
        return web.Response(text="speech")

    async def instance(self, _: web.Request) -> web.StreamResponse:
        self.asked.append("instance")
        return web.json_response({"Code": "Success", "Type": "AWS-HMAC", **self._document()})

    def _document(self) -> dict[str, str]:
        return {
            "AccessKeyId": "AKIDEMULATED",
            "SecretAccessKey": self.secret,
            "Token": SESSION,
            "Expiration": self._ends(),
            "LastUpdated": self._ends(),
        }


@pytest.fixture
async def givers() -> AsyncIterator[Givers]:
    made = Givers()
    app = web.Application()
    role = "/latest/meta-data/iam/security-credentials"
    app.router.add_post("/", made.sts)
    app.router.add_get("/container", made.container)
    app.router.add_put("/latest/api/token", made.instance_token)
    app.router.add_get(f"{role}/", made.instance_role)
    app.router.add_get(f"{role}/speech", made.instance)
    runners: list[web.AppRunner] = []
    made.url = await serve(app, runners)
    yield made
    await runners[0].cleanup()


@pytest.fixture(autouse=True)
async def no_cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the machine's own credentials out of this, and its metadata's address. A proxy that is set is dead."""
    dead = await refused()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, dead)
        monkeypatch.setenv(name.lower(), dead)
    for name in ("NO_PROXY", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("BOTO_CONFIG", str(tmp_path / "boto"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def on_the_machine(monkeypatch: pytest.MonkeyPatch, secret: str = KEY) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEMULATED")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)


@asynccontextmanager
async def calling(url: str, **options: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Yield what has the emulator transcribe, let in by what is found."""
    there = {"region": "us-east-1", "bucket": "emulated-bucket", **options}
    account = Account(name="a", adapter="aws-transcribe", base_urls=emulated_urls("aws-transcribe", url), options=there)
    job = TranscriptionJob(model="m", audio=sample_audio("slushy.mp3"))
    async with new_session() as session:
        client = HttpProvider(PROVIDERS["aws-transcribe"], session, sleep=lambda _: asyncio.sleep(0.01))

        async def call() -> None:
            deadline = Moment(asyncio.get_running_loop().time() + 30)
            to = Deployment(account=account, native_model="standard")
            assert (await client.transcribe(job, to, deadline)).text.startswith("blake3 ")

        try:
            yield call
        finally:
            await client.close()


async def hear(url: str, *, times: int = 1, **options: str) -> None:
    """Have the emulator transcribe so often at once."""
    async with calling(url, **options) as call:
        await asyncio.gather(*(call() for _ in range(times)))


async def test_variables_let_in(emulate: Emulate, monkeypatch: pytest.MonkeyPatch) -> None:
    on_the_machine(monkeypatch)
    await hear(await emulate("aws-transcribe"))

    on_the_machine(monkeypatch, "wrong")
    with pytest.raises(CredentialsRejected, match="SignatureDoesNotMatch"):
        await hear(await emulate("aws-transcribe"))


async def test_a_shared_profile_lets_in(emulate: Emulate, tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(
        f"[speech]\naws_access_key_id = AKIDEMULATED\naws_secret_access_key = {KEY}\n"
    )
    await hear(await emulate("aws-transcribe"), profile="speech")

    with pytest.raises(CredentialsRejected, match="profile is not to be found"):
        await hear(await emulate("aws-transcribe"), profile="other")


async def test_a_profile_assumes_its_role(
    emulate: Emulate, givers: Givers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_the_machine(monkeypatch, "of-the-source")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", givers.url)
    (tmp_path / "config").write_text(f"[profile speech]\nrole_arn = {ROLE}\ncredential_source = Environment\n")
    await hear(await emulate("aws-transcribe"), times=8, profile="speech")

    assert givers.asked == [f"AssumeRole {ROLE} AKIDEMULATED"]


async def test_an_accounts_own_role_is_assumed(
    emulate: Emulate, givers: Givers, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_the_machine(monkeypatch, "of-the-source")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", givers.url)
    await hear(await emulate("aws-transcribe"), role_arn=ROLE, external_id="42")

    assert givers.asked == [f"AssumeRole {ROLE} AKIDEMULATED 42"]


async def test_a_web_identity_assumes_its_role(
    emulate: Emulate, givers: Givers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a pod of Kubernetes has it."""
    (tmp_path / "token").write_text("a.b.c")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", givers.url)
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    await hear(await emulate("aws-transcribe"))

    assert givers.asked == [f"AssumeRoleWithWebIdentity {ROLE} a.b.c"]


async def test_a_containers_endpoint_lets_in(emulate: Emulate, givers: Givers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{givers.url}/container")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod")
    await hear(await emulate("aws-transcribe"))

    assert givers.asked == ["container pod"]


async def test_an_instances_metadata_lets_in(emulate: Emulate, givers: Givers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", givers.url)
    await hear(await emulate("aws-transcribe"), times=4)

    assert givers.asked == ["instance"]


async def test_credentials_are_renewed_before_they_end(
    emulate: Emulate, givers: Givers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{givers.url}/container")
    givers.lasts_s = 2.0
    async with calling(await emulate("aws-transcribe")) as call:
        await call()
        first = len(givers.asked)
        await call()
        assert len(givers.asked) == first
        while len(givers.asked) == first:
            await call()


async def test_credentials_that_have_ended_are_none(
    emulate: Emulate, givers: Givers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{givers.url}/container")
    givers.lasts_s = -1.0
    with pytest.raises(ProviderUnavailable):
        await hear(await emulate("aws-transcribe"))


async def test_credentials_that_are_refused_are_not_used_again(
    emulate: Emulate, givers: Givers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS says so with a 400 or a 403, and never with a 401."""
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{givers.url}/container")
    async with calling(await emulate("aws-transcribe")) as call:
        givers.secret = "rotated"
        with pytest.raises(CredentialsRejected):
            await call()
        givers.secret = KEY
        await call()


async def test_a_machine_without_credentials_is_the_operators_matter(emulate: Emulate) -> None:
    with pytest.raises(CredentialsRejected, match="to be found"):
        await hear(await emulate("aws-transcribe"))


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "AccessDenied", CredentialsRejected),
        (400, "Throttling", ProviderUnavailable),
        (503, "ServiceUnavailable", ProviderUnavailable),
    ],
)
async def test_what_the_giver_says_is_told_apart(
    emulate: Emulate, givers: Givers, monkeypatch: pytest.MonkeyPatch, status: int, code: str, error: type[Exception]
) -> None:
    on_the_machine(monkeypatch, "of-the-source")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", givers.url)
    givers.status, givers.code = status, code
    with pytest.raises(error):
        await hear(await emulate("aws-transcribe"), role_arn=ROLE)


async def test_where_nobody_answers_it_is_a_matter_of_time(emulate: Emulate, monkeypatch: pytest.MonkeyPatch) -> None:
    on_the_machine(monkeypatch, "of-the-source")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", await refused())
    with pytest.raises(ProviderUnavailable, match="no answer"):
        await hear(await emulate("aws-transcribe"), role_arn=ROLE)


async def test_a_profile_that_asks_for_what_is_not_there_is_the_operators_matter(
    emulate: Emulate, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text(f"[profile speech]\nrole_arn = {ROLE}\nsource_profile = nobody\n")
    with pytest.raises(CredentialsRejected, match="of what is configured"):
        await hear(await emulate("aws-transcribe"), profile="speech")


async def test_nothing_of_them_is_logged(
    emulate: Emulate, givers: Givers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However much is: botocore would write whole replies."""
    caplog.set_level(logging.DEBUG)
    on_the_machine(monkeypatch, "of-the-source")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", givers.url)
    await hear(await emulate("aws-transcribe"), role_arn=ROLE)

    written = json.dumps([record.getMessage() for record in caplog.records])
    assert givers.asked
    for secret in (SESSION, KEY, "of-the-source"):
        assert secret not in written
