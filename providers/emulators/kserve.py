"""Triton's HTTP endpoint of the KServe v2 protocol, as its SDK sees it, with a speech model behind any name.

The model takes samples in `WAV` (their number in `WAV_LENS`) or a whole file in `inputs`, Whisper's first tokens in
`TEXT_PREFIX`, and answers in `TRANSCRIPTS` or `outputs`. A model whose name begins with `missing` is none.

Source: tritonclient 2.73.0, KServe "Open Inference Protocol" v2, triton-inference-server/server `docs/protocol`
(2026); the wording of errors is Triton's. Left out: shared memory, sequences, statistics, gRPC.
"""

from __future__ import annotations

import io
import json
import math
import re
import struct
import wave
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.emulators.door import Refused, guard
from providers.emulators.openai_form import end_s
from providers.languages import NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.emulators.ear import Emulation
    from providers.types import Transcript

OPTIONS: Final = {"audio": "file", "prefix": "TEXT_PREFIX"}
"""Of an account here: the file goes as it came."""

_MAX_BYTES: Final = 512 * 1024 * 1024
_LENGTH: Final = "inference-header-content-length"
_INPUTS: Final = {"WAV": "FP32", "WAV_LENS": "INT32", "inputs": "BYTES", "TEXT_PREFIX": "BYTES", "BEAMS": "INT32"}
_OUTPUTS: Final = ("TRANSCRIPTS", "outputs")
_ELEMENTS: Final = {"FP32": "f", "INT32": "i"}
_RATE_HZ: Final = 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A request for an inference."""

    id: str | None
    tensors: Mapping[str, list[Any]]
    outputs: Mapping[str, bool]  # name -> whether its elements come as bytes


def build_app(emulation: Emulation) -> web.Application:
    """Return the server, behind a proxy that asks for the key as a bearer token: Triton itself asks for none."""

    def let_in(request: web.Request) -> None:
        if request.headers.get("authorization") != f"Bearer {emulation.key}":
            raise Refused(401, "Unauthorized")

    async def infer(request: web.Request) -> web.Response:
        model = _model(request)
        asked = _read(await request.read(), request.headers.get(_LENGTH), model)
        text = await _heard(emulation, asked.tensors)
        return _answer(asked, model, request.match_info.get("version", "1"), text)

    app = web.Application(client_max_size=_MAX_BYTES, middlewares=[guard(let_in, _refusal)])
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/{model}/ready"):
        app.router.add_get(path, _ready)
    app.router.add_get("/v2/models/{model}", _metadata)
    for path in ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"):
        app.router.add_post(path, infer)
    return app


def _refusal(refused: Refused) -> web.Response:
    return web.json_response({"error": refused.said}, status=refused.status)


def _model(request: web.Request) -> str:
    model = request.match_info["model"]
    if model.startswith("missing"):
        raise Refused(400, f"Request for unknown model: '{model}' is not found")
    return model


async def _ready(request: web.Request) -> web.Response:
    if "model" in request.match_info:
        _model(request)
    return web.Response()


async def _metadata(request: web.Request) -> web.Response:
    """Return what the model takes, each of it optional, which Triton does not show."""
    return web.json_response(
        {
            "name": _model(request),
            "versions": ["1"],
            "platform": "python",
            "inputs": [{"name": name, "datatype": kind, "shape": [-1, -1]} for name, kind in _INPUTS.items()],
            "outputs": [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in _OUTPUTS],
        }
    )


# --- what is read


def _read(body: bytes, header_length: str | None, model: str) -> _Asked:
    """Read a request, its tensors in JSON or behind it. Raises Refused."""
    size = int(header_length) if header_length and header_length.isdecimal() else len(body)
    try:
        asked = json.loads(body[:size])
        described = [(each["name"], each) for each in asked["inputs"]]
        wanted = [(each["name"], each.get("parameters", {})) for each in asked.get("outputs", [])]
    except (ValueError, KeyError, TypeError):
        raise Refused(400, "failed to parse the request JSON buffer") from None
    tensors: dict[str, list[Any]] = {}
    rest = memoryview(body)[size:]
    for name, each in described:
        _check(name, each, model)
        taken = each.get("parameters", {}).get("binary_data_size")
        tensors[name] = each.get("data", []) if taken is None else _elements(name, each, rest[:taken])
        rest = rest[taken or 0 :]
    if unknown := [name for name, _ in wanted if name not in _OUTPUTS]:
        raise Refused(400, f"unexpected inference output '{unknown[0]}' for model '{model}'")
    outputs = {name: parameters.get("binary_data", False) for name, parameters in wanted}
    return _Asked(id=asked.get("id"), tensors=tensors, outputs=outputs or {"TRANSCRIPTS": False})


def _check(name: str, described: Mapping[str, Any], model: str) -> None:
    kind = _INPUTS.get(name)
    if kind is None:
        raise Refused(400, f"unexpected inference input '{name}' for model '{model}'")
    if described.get("datatype") != kind:
        given = described.get("datatype")
        raise Refused(400, f"inference input '{name}' data-type is '{given}', but model '{model}' expects '{kind}'")


def _elements(name: str, described: Mapping[str, Any], data: memoryview) -> list[Any]:
    """Return a tensor's elements. Raises Refused where there are more or fewer than its shape says."""
    expected = math.prod(described.get("shape", []))
    if described["datatype"] == "BYTES":
        elements: list[Any] = _texts(data)
    else:
        elements = array(_ELEMENTS[described["datatype"]], bytes(data[: len(data) // 4 * 4])).tolist()
    if len(elements) != expected or (len(data) % 4 and described["datatype"] != "BYTES"):
        raise Refused(400, f"unexpected total byte size {len(data)} for input '{name}', expecting {4 * expected}")
    return elements


def _texts(data: memoryview) -> list[Any]:
    found, at = [], 0
    while at + 4 <= len(data):
        (size,) = struct.unpack_from("<I", data, at)
        found.append(bytes(data[at + 4 : at + 4 + size]))
        at += 4 + size
    return found if at == len(data) else []


# --- what is heard


async def _heard(emulation: Emulation, tensors: Mapping[str, list[Any]]) -> str:
    """Listen, and write as Whisper does after such a prefix. Raises Refused."""
    prefix = _prefix(tensors)
    try:
        heard = await emulation.ear.hear(
            _audio(tensors), language=prefix.language, translate=prefix.task == "translate"
        )
    except (UnreadableAudio, AudioTooLong):
        raise Refused(400, "the audio could not be decoded") from None
    told = "" if prefix.language else f"<|{heard.language or 'en'}|><|transcribe|>"
    return told + (heard.text if prefix.untimed or not prefix.given else _timed(heard))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prefix:
    given: bool = False
    language: str | None = None
    task: str = "transcribe"
    untimed: bool = False


_PREFIX: Final = re.compile(
    r"<\|startoftranscript\|>(?:<\|([a-z]{2,3})\|><\|(transcribe|translate)\|>(<\|notimestamps\|>)?)?"
)


def _prefix(tensors: Mapping[str, list[Any]]) -> _Prefix:
    if not tensors.get("TEXT_PREFIX"):
        return _Prefix()
    (given,) = tensors["TEXT_PREFIX"]
    found = _PREFIX.fullmatch(given if isinstance(given, str) else given.decode(errors="replace"))
    if not found or (found[1] and found[1] not in NAMES):
        raise Refused(400, "the prefix is no prompt of Whisper's")
    return _Prefix(given=True, language=found[1], task=found[2] or "transcribe", untimed=bool(found[3]))


def _audio(tensors: Mapping[str, list[Any]]) -> bytes:
    if file := tensors.get("inputs"):
        return file[0] if isinstance(file[0], bytes) else str(file[0]).encode()
    if "WAV" not in tensors:
        raise Refused(400, "expected input 'WAV' or 'inputs'")
    samples = tensors["WAV"]
    if tensors.get("WAV_LENS", [len(samples)]) != [len(samples)]:
        raise Refused(400, "WAV_LENS is not the number of samples")
    return _wav(samples)


def _wav(samples: list[float]) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(_RATE_HZ)
        written.writeframes(array("h", (max(-32768, min(32767, round(each * 32768))) for each in samples)).tobytes())
    return file.getvalue()


def _timed(heard: Transcript) -> str:
    return "".join(f"<|{s.start_s:.2f}|> {s.text.strip()}<|{end_s(s, heard):.2f}|>" for s in heard.segments)


# --- what is answered


def _answer(asked: _Asked, model: str, version: str, text: str) -> web.Response:
    """Answer in JSON, and behind it with what is wanted as bytes."""
    said = text.encode()
    element = struct.pack("<I", len(said)) + said
    outputs, data = [], b""
    for name, as_bytes in asked.outputs.items():
        besides: dict[str, Any] = {"parameters": {"binary_data_size": len(element)}} if as_bytes else {"data": [text]}
        outputs.append({"name": name, "datatype": "BYTES", "shape": [1], **besides})
        data += element if as_bytes else b""
    answer = {"model_name": model, "model_version": version, "outputs": outputs}
    header = json.dumps(answer if asked.id is None else {"id": asked.id, **answer}).encode()
    if not data:
        return web.Response(body=header, content_type="application/json")
    return web.Response(
        body=header + data, content_type="application/octet-stream", headers={_LENGTH: str(len(header))}
    )
