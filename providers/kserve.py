"""Models behind the KServe v2 inference protocol: NVIDIA Triton, and KServe's own server.

What a model's tensors are called is its deployer's choice: an account's options say so, and how Whisper is commonly
deployed on Triton is what they are unless told. `audio: file` is for models that decode by themselves.

    audio           samples (32-bit floats, 16 kHz, one channel), or file (its bytes as they came)
    input           the tensor of the audio: WAV for samples, inputs for a file
    lengths         INT32, how many samples there are; left out unless named
    prefix          BYTES, Whisper's first tokens: language, task, times. TEXT_PREFIX for samples; "": none
    language        what the prefix names where the caller does not; unset: the model listens for it
    output          the tensor of the text: TRANSCRIPTS for samples, outputs for a file
    num_beams, max_new_tokens, temperature   the tensors of these parameters; left out unless named
    longest         seconds of audio that the model hears: 30 for samples with a prefix, no end otherwise
    version         of the model; unset: the server's choice

Source: tritonclient 2.73.0 (`http/_utils.py`, `_infer_input.py`), KServe "Open Inference Protocol" v2 with the binary
tensor data extension of Triton (`protocol/extension_binary_data.md`), the Whisper models of sherpa and TensorRT-LLM
(2026).
"""

from __future__ import annotations

import json
import re
import struct
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec
from pydantic import BaseModel, ValidationError

from providers.authorize import bearer
from providers.errors import JobUnsupported, MalformedReply
from providers.exchange import HttpRequest
from providers.languages import code_of
from providers.provider import Provider, succeeded
from providers.refusals import by_reply
from providers.spans import segment
from providers.types import Capabilities, Container, Task, Timestamps, Transcript

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from providers.errors import ProviderError
    from providers.exchange import Exchange, HttpReply, Piece
    from providers.types import Account, Deployment, Segment, TranscriptionJob

NAME = "kserve"
_WHISPER_S: Final = 30.0  # of its window: what comes after it is not heard, and nobody is told


# --- how a model is deployed


class _Layout(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's tensors are called; "" for those it has not."""

    is_file: bool
    input: str
    output: str
    prefix: str
    lengths: str
    parameters: Mapping[str, str]  # generation parameter -> tensor
    longest_s: float | None


_DATATYPES: Final = {"num_beams": "INT32", "max_new_tokens": "INT32", "temperature": "FP32"}
_FORMATS: Final = {"INT32": "<i", "FP32": "<f"}
_KNOWN: Final = ("audio", "input", "lengths", "prefix", "language", "output", *_DATATYPES, "longest", "version")
_USUAL: Final = {
    "samples": {"input": "WAV", "output": "TRANSCRIPTS", "prefix": "TEXT_PREFIX"},
    "file": {"input": "inputs", "output": "outputs", "prefix": ""},
}


def _layout(account: Account) -> _Layout:
    """Read an account's options. Raises ValueError where they say what nobody knows."""
    audio = account.options.get("audio", "samples")
    if audio not in _USUAL:
        raise ValueError(f"account {account.name}: options.audio is {audio!r}, but only samples and file are known")
    if unknown := account.options.keys() - _KNOWN:
        raise ValueError(f"account {account.name}: options.{min(unknown)}: only these are known: {', '.join(_KNOWN)}")
    said = {**_USUAL[audio], **account.options}
    is_file = audio == "file"
    return _Layout(
        is_file=is_file,
        input=said["input"],
        output=said["output"],
        prefix=said["prefix"],
        lengths="" if is_file else said.get("lengths", ""),
        parameters={name: said[name] for name in _DATATYPES if said.get(name)},
        longest_s=_seconds(account, None if is_file or not said["prefix"] else _WHISPER_S),
    )


def _seconds(account: Account, usual: float | None) -> float | None:
    given = account.options.get("longest")
    if given is None:
        return usual
    if not re.fullmatch(r"[1-9]\d{0,5}", given):
        raise ValueError(f"account {account.name}: options.longest is {given!r}, not a number of whole seconds")
    return float(given)


def capabilities(to: Deployment) -> Capabilities:
    """Return what the model can do, as its account describes it. Raises ValueError where that cannot be read."""
    layout = _layout(to.account)
    samples = frozenset({Container.SAMPLES})
    return Capabilities(
        generation=frozenset(layout.parameters),
        timestamps=frozenset({Timestamps.SEGMENT} if layout.prefix else ()),
        tasks=frozenset(Task) if layout.prefix else frozenset({Task.TRANSCRIBE}),
        language_hint=bool(layout.prefix),
        translation_hint=bool(layout.prefix),
        containers=None if layout.is_file else samples,
        transcode_to=Container.FLAC if layout.is_file else Container.SAMPLES,
        max_duration_s=layout.longest_s,
    )


# --- what is asked


class _Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """An input, its elements in pieces of known size."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: tuple[Piece, ...]
    size_bytes: int

    def described(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "shape": self.shape,
            "datatype": self.datatype,
            "parameters": {"binary_data_size": self.size_bytes},
        }


def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send tensors as raw bytes behind a JSON header. Raises JobUnsupported."""
    layout = _layout(to.account)
    tensors = [_audio(job, layout), *_besides(job, to, layout)]
    asked = {
        "inputs": [each.described() for each in tensors],
        "outputs": [{"name": layout.output, "parameters": {"binary_data": False}}],
    }
    header = json.dumps(asked).encode()
    return HttpRequest(
        method="POST",
        url=_url(to),
        headers={
            "content-type": "application/octet-stream",
            "inference-header-content-length": str(len(header)),
        },
        body=(header, *(piece for each in tensors for piece in each.data)),
    )


def _url(to: Deployment) -> str:
    version = to.account.options.get("version")
    of_version = f"/versions/{quote(version, safe='')}" if version else ""
    return f"{to.account.base_urls['api']}/v2/models/{quote(to.native_model, safe='')}{of_version}/infer"


def _audio(job: TranscriptionJob, layout: _Layout) -> _Tensor:
    content = job.audio.content
    if layout.is_file:
        length = struct.pack("<I", content.size_bytes)
        return _Tensor(
            name=layout.input,
            datatype="BYTES",
            shape=(1,),
            data=(length, content),
            size_bytes=len(length) + content.size_bytes,
        )
    if job.audio.container is not Container.SAMPLES:
        raise JobUnsupported(NAME, "the model wants samples, and the audio was given as a file")
    return _Tensor(
        name=layout.input,
        datatype="FP32",
        shape=(1, content.size_bytes // 4),
        data=(content,),
        size_bytes=content.size_bytes,
    )


def _besides(job: TranscriptionJob, to: Deployment, layout: _Layout) -> Iterator[_Tensor]:
    if layout.lengths:
        yield _number(layout.lengths, "INT32", job.audio.content.size_bytes // 4)
    if layout.prefix:
        text = _prefix(job, to.account.options.get("language")).encode()
        data = struct.pack("<I", len(text)) + text
        yield _Tensor(name=layout.prefix, datatype="BYTES", shape=(1, 1), data=(data,), size_bytes=len(data))
    given = dict(job.generation.given())
    for name, tensor in layout.parameters.items():
        if name in given:
            yield _number(tensor, _DATATYPES[name], given[name])


def _number(name: str, datatype: str, value: object) -> _Tensor:
    try:
        data = struct.pack(_FORMATS[datatype], value)
    except (struct.error, OverflowError) as error:
        raise JobUnsupported(NAME, f"{value} is more than {name} can hold there") from error
    return _Tensor(name=name, datatype=datatype, shape=(1, 1), data=(data,), size_bytes=len(data))


def _prefix(job: TranscriptionJob, usual: str | None) -> str:
    """Return Whisper's first tokens. Without a language it goes on by itself: with that, the task and the times."""
    language = job.language or usual
    if language is None:
        if job.task is Task.TRANSLATE:
            raise JobUnsupported(NAME, "a translation needs the language that is spoken there")
        return _START
    untimed = "<|notimestamps|>" if job.timestamps is Timestamps.NONE else ""
    return f"{_START}<|{code_of(language) or language}|><|{job.task}|>{untimed}"


_START: Final = "<|startoftranscript|>"


# --- what comes back


class _Output(BaseModel):
    name: str
    data: list[str]


class _Reply(BaseModel):
    outputs: list[_Output]


def transcribe(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
    """Ask once. A model is not believed to have given times until they are seen."""
    request = build_request(job, to)
    reply = succeeded((yield msgspec.structs.replace(request, bills=True)), classify_error)
    heard = parse_reply(reply, _layout(to.account).output)
    if job.timestamps is Timestamps.NONE:
        return msgspec.structs.replace(heard, segments=())
    if heard.text and not heard.segments:
        raise JobUnsupported(NAME, "this model answered without the times it was asked for")
    return heard


def parse_reply(reply: HttpReply, output: str) -> Transcript:
    """Read a 200 reply. Raises MalformedReply, and nothing else."""
    try:
        answer = _Reply.model_validate_json(reply.body)
    except ValidationError as error:
        raise MalformedReply(NAME, "a 200 without an inference's JSON") from error
    texts = [text for each in answer.outputs if each.name == output for text in each.data]
    if not texts:
        raise MalformedReply(NAME, "a 200 without the output that was asked for")
    heard = " ".join(texts)
    spoken = next((code for token in _TOKEN.findall(heard) if (code := code_of(token)) == token), None)
    return Transcript(
        text=_plain(heard),
        segments=tuple(_segments(heard)),
        language=spoken,
    )


_TOKEN: Final = re.compile(r"<\|([a-z]{2,3})\|>")
_CONTROL: Final = re.compile(r"<\|[^|<>]*\|>")
# An end is looked at and left: it may be the beginning of what follows.
_TIMED: Final = re.compile(r"<\|(\d+\.\d+)\|>(.*?)(?=<\|(?:(\d+\.\d+)\|>)?|$)", re.DOTALL)


def _plain(text: str) -> str:
    return " ".join(_CONTROL.sub("", text).split())


def _segments(text: str) -> Iterator[Segment]:
    for start, said, end in _TIMED.findall(text):
        if said.strip():
            yield segment(said.strip(), float(start), float(end) if end else None)


# --- what went wrong


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx. An unknown model is a 400 on Triton, and a 404 elsewhere."""
    if reply.status in {400, 404} and "unknown model" in reply.said.lower():
        return JobUnsupported(NAME, "it has no such model")
    return by_reply(NAME, reply)


KSERVE = Provider(
    name=NAME,
    base_urls={},  # every account says where its server is, without /v2
    key_variable=None,
    key_required=False,
    authorize=bearer,
    capabilities=capabilities,
    transcribe=transcribe,
)
