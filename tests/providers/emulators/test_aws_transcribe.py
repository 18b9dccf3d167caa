"""The emulator, driven by botocore and by our adapter over real sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import botocore.session
import pytest
from blake3 import blake3
from botocore.config import Config
from botocore.exceptions import ClientError

from providers.errors import CredentialsRejected, JobUnsupported
from providers.registry import PROVIDERS
from providers.transport import HttpProvider, new_session
from providers.types import Account, Deployment, Moment, Timestamps, TranscriptionJob
from tests.conftest import KEY, sample, sample_audio
from tests.driving import at, hear, state
from tests.turns import TwoTurns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

SHORT = sample("slushy.mp3")
HEARD = f"blake3 {blake3(SHORT).hexdigest()}"
BUCKET = "emulated-bucket"
MEDIA = {"MediaFileUri": f"s3://{BUCKET}/a.mp3"}


def sdk(service: str, url: str, *, key: str = "AKIDEMULATED", secret: str = KEY, region: str = "us-east-1") -> Any:
    return botocore.session.Session().create_client(
        service,
        region_name=region,
        endpoint_url=url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}),
    )


def upload(url: str, audio: bytes = SHORT) -> None:
    sdk("s3", url).put_object(Bucket=BUCKET, Key="a.mp3", Body=audio)


# --- botocore


async def test_its_own_sdk_uploads_starts_waits_and_deletes(emulate: Emulate, local_ear: LocalEar) -> None:
    url = await emulate("aws-transcribe", local_ear)

    def call() -> tuple[str, str]:
        upload(url)
        assert sdk("s3", url).get_object(Bucket=BUCKET, Key="a.mp3")["Body"].read() == SHORT
        client = sdk("transcribe", url)
        client.start_transcription_job(TranscriptionJobName="j1", Media=MEDIA, LanguageCode="en-US", MediaFormat="mp3")
        status = ""
        while status not in {"COMPLETED", "FAILED"}:
            job = client.get_transcription_job(TranscriptionJobName="j1")["TranscriptionJob"]
            status = job["TranscriptionJobStatus"]
        client.delete_transcription_job(TranscriptionJobName="j1")
        sdk("s3", url).delete_object(Bucket=BUCKET, Key="a.mp3")
        return status, job["Transcript"]["TranscriptFileUri"]

    status, uri = await asyncio.to_thread(call)
    assert status == "COMPLETED"
    assert uri.startswith(f"{url}/results/j1?")
    told = await state(url)
    assert (list(told["jobs"].values()), told["files"]) == (["deleted"], [])
    async with aiohttp.ClientSession() as session, session.get(uri) as gone:
        assert gone.status == 403


async def test_its_own_sdk_raises_its_own_errors(emulate: Emulate) -> None:
    url = await emulate("aws-transcribe", job_s=3600.0)

    def code(call: Callable[[], object]) -> tuple[str, int]:
        with pytest.raises(ClientError) as error:
            call()
        told = error.value.response
        return told["Error"]["Code"], told["ResponseMetadata"]["HTTPStatusCode"]

    def calls() -> list[tuple[str, int]]:
        upload(url)
        client = sdk("transcribe", url)

        def start(by: Any = client, **fields: Any) -> Callable[[], object]:
            wanted = {"TranscriptionJobName": "j1", "Media": MEDIA, "IdentifyLanguage": True, **fields}
            return lambda: by.start_transcription_job(**wanted)

        start()()
        return [
            code(start()),
            code(start(TranscriptionJobName="j2", LanguageCode="en-US")),
            code(start(TranscriptionJobName="j2", Media={"MediaFileUri": f"s3://{BUCKET}/none"})),
            code(start(sdk("transcribe", url, secret="wrong"))),
            code(start(sdk("transcribe", url, key="AKIDOTHER"))),
            code(start(sdk("transcribe", url, region="eu-west-1"))),
            code(lambda: client.delete_transcription_job(TranscriptionJobName="j1")),
            code(lambda: client.get_transcription_job(TranscriptionJobName="none")),
            code(lambda: client.delete_transcription_job(TranscriptionJobName="none")),
            code(client.list_transcription_jobs),
            code(lambda: sdk("s3", url, secret="wrong").delete_object(Bucket=BUCKET, Key="a.mp3")),
            code(lambda: sdk("s3", url).get_object(Bucket=BUCKET, Key="none")),
        ]

    assert await asyncio.to_thread(calls) == [
        ("ConflictException", 400),
        ("BadRequestException", 400),
        ("BadRequestException", 400),
        ("InvalidSignatureException", 400),
        ("UnrecognizedClientException", 400),
        ("MissingAuthenticationTokenException", 403),
        ("BadRequestException", 400),
        ("NotFoundException", 400),
        ("BadRequestException", 400),
        ("UnknownOperationException", 400),
        ("SignatureDoesNotMatch", 403),
        ("NoSuchKey", 404),
    ]


# --- our adapter


async def test_words_and_speakers_come_back_and_nothing_is_left(emulate: Emulate) -> None:
    ear = TwoTurns()
    url = await emulate("aws-transcribe", ear, job_s=0.1)
    heard = await hear(at("aws-transcribe", "standard", url), language="en", diarize=True, timestamps=Timestamps.WORD)

    assert [(each.text, each.start_s, each.speaker) for each in heard.words] == [
        ("Hi", 0.5, "spk_0"),
        ("there.", 1.0, "spk_0"),
        ("Oh", 2.5, "spk_1"),
        ("no.", 3.0, "spk_1"),
    ]
    assert [(each.text, each.speaker) for each in heard.segments] == [("Hi there.", "spk_0"), ("Oh no.", "spk_1")]
    assert (heard.language, ear.asked) == ("en", [("en", False, None)])
    told = await state(url)
    assert (list(told["jobs"].values()), told["files"]) == (["deleted"], [])


async def test_a_caller_who_leaves_leaves_nothing_behind(emulate: Emulate) -> None:
    """The object is deleted at once, the job when it is over: until then AWS refuses."""
    url = await emulate("aws-transcribe", job_s=0.8)
    job = TranscriptionJob(model="m", audio=sample_audio("slushy.mp3"))
    async with new_session() as session:
        client = HttpProvider(PROVIDERS["aws-transcribe"], session, sleep=lambda _: asyncio.sleep(0.01))
        deadline = Moment(asyncio.get_running_loop().time() + 30)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(client.transcribe(job, at("aws-transcribe", "standard", url), deadline))
            while not (await state(url))["asked_after"]:
                pass
            waiting.cancel()
        while "deleted" not in (told := await state(url))["jobs"].values():
            pass
        await client.close()

    assert waiting.cancelled()
    assert (len(told["jobs"]), told["files"]) == (1, [])


async def test_bytes_that_are_no_audio_fail_the_job_and_are_deleted(emulate: Emulate) -> None:
    url = await emulate("aws-transcribe", job_s=0.0)
    with pytest.raises(JobUnsupported):
        await hear(at("aws-transcribe", "standard", url), b"RIFF\x10\0\0\0WAVEnothing of the kind")

    told = await state(url)
    assert (list(told["jobs"].values()), told["files"]) == (["deleted"], [])


async def test_a_wrong_format_fails_the_job(emulate: Emulate) -> None:
    url = await emulate("aws-transcribe", job_s=0.0)

    def call() -> str:
        upload(url)
        client = sdk("transcribe", url)
        wanted = {"TranscriptionJobName": "j1", "Media": MEDIA, "IdentifyLanguage": True, "MediaFormat": "wav"}
        client.start_transcription_job(**wanted)
        reason: str = client.get_transcription_job(TranscriptionJobName="j1")["TranscriptionJob"]["FailureReason"]
        return reason

    assert "media format" in await asyncio.to_thread(call)


async def test_an_unknown_access_key_is_the_operators_matter(emulate: Emulate) -> None:
    to = at("aws-transcribe", "standard", await emulate("aws-transcribe"))
    known = to.account
    other = Account(
        name="a",
        adapter="aws-transcribe",
        base_urls=known.base_urls,
        api_key=known.api_key,
        options={**known.options, "access_key_id": "AKIDOTHER"},
    )
    with pytest.raises(CredentialsRejected, match="InvalidAccessKeyId"):
        await hear(Deployment(account=other, native_model="standard"))
