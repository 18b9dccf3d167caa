"""Triton's endpoint driven by Triton's own SDK, and by plain HTTP where that would refuse to ask."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from aiohttp import ClientSession
from blake3 import blake3
from tritonclient.http import InferInput, InferRequestedOutput
from tritonclient.http.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from providers.audio.content import MemoryContent
from providers.audio.samples import read_samples
from tests.conftest import KEY, sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from providers.emulators.ear import LocalEar

    Emulate = Callable[..., Awaitable[str]]

HEADERS = {"authorization": f"Bearer {KEY}"}  # each call gets a copy: the SDK writes into it
FILE = sample("slushy.wav")
TIMED = "<|startoftranscript|><|en|><|transcribe|>"


@asynccontextmanager
async def sdk(url: str) -> AsyncIterator[InferenceServerClient]:
    async with InferenceServerClient(url.removeprefix("http://")) as client:
        yield client


def tensor(name: str, datatype: str, value: Any, *, binary: bool) -> InferInput:
    data = np.array(value)
    made = InferInput(name, list(data.shape), datatype)
    made.set_data_from_numpy(data, binary_data=binary)
    return made


def speech() -> Any:
    """Return two seconds, which in JSON are a megabyte."""
    return read_samples(MemoryContent(sample("sb_spk2_snt1.flac")), max_duration_s=60)[np.newaxis]


async def infer(url: str, *tensors: InferInput, output: str = "TRANSCRIPTS", binary: bool = False, **more: Any) -> str:
    wanted = [InferRequestedOutput(output, binary_data=binary)]
    async with sdk(url) as client:
        answer = await client.infer(
            more.pop("model", "whisper"), [*tensors], outputs=wanted, headers={**HEADERS}, **more
        )
    (said,) = answer.as_numpy(output).tolist()
    return said.decode() if isinstance(said, bytes) else str(said)


@pytest.mark.parametrize("binary", [False, True])
async def test_the_sdk_sends_samples(emulate: Emulate, local_ear: LocalEar, binary: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """In JSON and as bytes behind it; the answer in either form."""
    url = await emulate("kserve", local_ear)
    text = f"{TIMED}<|notimestamps|>" if binary else TIMED
    prompt = tensor("TEXT_PREFIX", "BYTES", np.array([[text]], object), binary=binary)
    said = await infer(url, tensor("WAV", "FP32", speech(), binary=binary), prompt, binary=binary)

    assert "We are sure that one war is enough." in said
    assert said.startswith("<|0.00|>") != binary


async def test_the_sdk_sends_a_file(emulate: Emulate) -> None:
    url = await emulate("kserve")
    file = tensor("inputs", "BYTES", np.array([FILE], object), binary=True)

    assert (await infer(url, file, output="outputs")).endswith(f"blake3 {blake3(FILE).hexdigest()}")


async def test_id_and_version_come_back(emulate: Emulate) -> None:
    file = tensor("inputs", "BYTES", np.array([FILE], object), binary=True)
    async with sdk(await emulate("kserve")) as client:
        answer = await client.infer("whisper", [file], request_id="x1", model_version="7", headers={**HEADERS})

    told = answer.get_response()
    assert (told["id"], told["model_name"], told["model_version"]) == ("x1", "whisper", "7")


async def test_the_sdk_asks_for_readiness_and_metadata(emulate: Emulate) -> None:
    async with sdk(await emulate("kserve")) as client:
        assert await client.is_server_live(headers={**HEADERS})
        assert await client.is_server_ready(headers={**HEADERS})
        assert await client.is_model_ready("whisper", headers={**HEADERS})
        assert not await client.is_model_ready("missing", headers={**HEADERS})
        told = await client.get_model_metadata("whisper", headers={**HEADERS})

    assert told["inputs"][0] == {"name": "WAV", "datatype": "FP32", "shape": [-1, -1]}
    assert {each["name"] for each in told["outputs"]} == {"TRANSCRIPTS", "outputs"}


@pytest.mark.parametrize(
    ("wanted", "status", "said"),
    [
        ({"model": "missing"}, 400, "Request for unknown model: 'missing' is not found"),
        ({"name": "AUDIO"}, 400, "unexpected inference input 'AUDIO' for model 'whisper'"),
        ({"output": "TEXT"}, 400, "unexpected inference output 'TEXT' for model 'whisper'"),
        ({"datatype": "INT32"}, 400, "data-type is 'INT32', but model 'whisper' expects 'FP32'"),
        ({"name": "TEXT_PREFIX", "datatype": "BYTES"}, 400, "the prefix is no prompt of Whisper's"),
        ({"name": "BEAMS", "datatype": "INT32"}, 400, "expected input 'WAV' or 'inputs'"),
    ],
)
async def test_the_sdk_is_refused_with_tritons_words(
    emulate: Emulate, wanted: dict[str, str], status: int, said: str
) -> None:
    datatype = wanted.get("datatype", "FP32")
    value = {"FP32": np.zeros((1, 9), np.float32), "INT32": np.zeros((1, 9), np.int32)}.get(
        datatype, np.array([[b"who"]], object)
    )
    made = tensor(wanted.get("name", "WAV"), datatype, value, binary=True)
    with pytest.raises(InferenceServerException) as told:
        await infer(
            await emulate("kserve"),
            made,
            output=wanted.get("output", "TRANSCRIPTS"),
            model=wanted.get("model", "whisper"),
        )

    assert told.value.status() == str(status)
    assert said in told.value.message()


async def post(url: str, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    async with (
        ClientSession(headers=HEADERS) as session,
        session.post(f"{url}/v2/models/whisper/infer", data=body, headers=headers) as reply,
    ):
        return reply.status, await reply.json()


async def test_bytes_that_do_not_fill_the_shape_are_refused(emulate: Emulate) -> None:
    described = {"name": "WAV", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 12}}
    header = json.dumps({"inputs": [described]}).encode()
    length = {"Inference-Header-Content-Length": str(len(header))}
    status, told = await post(await emulate("kserve"), header + bytes(12), **length)

    assert (status, told) == (400, {"error": "unexpected total byte size 12 for input 'WAV', expecting 16"})


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"inputs": [{}]}', b'{"inputs": 7}'])
async def test_what_is_no_request_is_refused(emulate: Emulate, body: bytes) -> None:
    assert await post(await emulate("kserve"), body) == (
        400,
        {"error": "failed to parse the request JSON buffer"},
    )


async def test_a_number_of_samples_that_is_wrong_is_refused(emulate: Emulate) -> None:
    lengths = tensor("WAV_LENS", "INT32", np.array([[3]], np.int32), binary=True)
    with pytest.raises(InferenceServerException, match="WAV_LENS is not the number of samples"):
        await infer(await emulate("kserve"), tensor("WAV", "FP32", speech(), binary=True), lengths)


async def test_the_proxy_before_it_wants_a_key(emulate: Emulate) -> None:
    url = await emulate("kserve")
    async with ClientSession() as session, session.get(f"{url}/v2/health/ready") as reply:
        assert (reply.status, await reply.json()) == (401, {"error": "Unauthorized"})
