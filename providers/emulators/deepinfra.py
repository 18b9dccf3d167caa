"""DeepInfra as its clients see it: `/inference/{model}` with what the call cost, and the OpenAI form beside it.

Source: deepinfra 0.3.0, DeepInfra's openapi.json (2026-05-20), huggingface_hub 2.4.0 `_providers/deepinfra.py`. The
wording of errors is unconfirmed. A webhook is answered with `queued` and never called: an emulator opens no connection.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar
from uuid import uuid4

from aiohttp import web
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from providers.audio.unreadable import AudioTooLong, UnreadableAudio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from multidict import MultiDictProxy

    from providers.emulators.ear import Ear, Emulation
    from providers.types import Segment, Transcript, Word

_MAX_BYTES = 1024**3  # no limit is published
_MAX_AT_ONCE = 200  # of one model, for each account

USD_PER_MINUTE: Final = {
    "openai/whisper-large-v3": 0.00045,
    "openai/whisper-large-v3-turbo": 0.00020,
    "openai/whisper-large-v3-turbo-vllm": 0.00020,
    "distil-whisper/distil-large-v3": 0.00018,
    "mistralai/Voxtral-Mini-3B-2507": 0.001,
    "mistralai/Voxtral-Small-24B-2507": 0.003,
}

Form: TypeAlias = "MultiDictProxy[str | bytes | bytearray | web.FileField]"
Level: TypeAlias = Literal["segment", "word"]
Shape = TypeVar("Shape", bound=BaseModel)


class _Native(BaseModel):
    task: Literal["transcribe", "translate"] = "transcribe"
    initial_prompt: str | None = None
    temperature: float = Field(default=0, ge=0)
    language: str | None = None
    chunk_level: Level = "segment"
    chunk_length_s: int = Field(default=30, ge=1, le=30)
    webhook: str | None = None


class _OpenAi(BaseModel):
    model: str
    language: str | None = None
    prompt: str | None = None
    response_format: Literal["json", "verbose_json", "text", "srt", "vtt"] = "json"
    temperature: float = Field(default=0, ge=0)


_LEVELS: Final = TypeAdapter(list[Level])


class _Refused(Exception):
    """A request that ends in an error reply."""

    def __init__(self, status: int, body: object) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


def build_app(emulation: Emulation) -> web.Application:
    """Return the service, with and without `/v1` before its routes."""
    ear = emulation.ear
    busy: Counter[str] = Counter()

    async def infer(request: web.Request) -> web.StreamResponse:
        model = _known(request.match_info["model"], {"error": "Model not found"})
        form = await request.post()
        asked = _validated(_Native, form)
        audio = _file(form, "audio")
        if asked.webhook:
            return web.json_response({"request_id": _request_id(), "inference_status": {"status": "queued"}})
        with _turn(busy, model):
            heard = await _hear(ear, audio, asked.language, asked.initial_prompt, translate=asked.task == "translate")
        return web.json_response(_native_answer(heard, asked, USD_PER_MINUTE[model]))

    async def transcribe(request: web.Request) -> web.StreamResponse:
        form = await request.post()
        levels = _levels(form)
        return await in_openai_form(form, _validated(_OpenAi, form), levels, translate=False)

    async def translate(request: web.Request) -> web.StreamResponse:
        form = await request.post()
        asked = _validated(_OpenAi, form)
        return await in_openai_form(form, asked.model_copy(update={"language": None}), ["segment"], translate=True)

    async def in_openai_form(form: Form, asked: _OpenAi, levels: list[Level], *, translate: bool) -> web.StreamResponse:
        audio = _file(form, "file")
        unknown = {"error": {"message": f"The model `{asked.model}` does not exist", "type": "invalid_request_error"}}
        with _turn(busy, _known(asked.model, unknown)):
            heard = await _hear(ear, audio, asked.language, asked.prompt, translate=translate)
        return _openai_answer(heard, asked.response_format, levels, "translate" if translate else "transcribe")

    app = web.Application(client_max_size=_MAX_BYTES, middlewares=[_guard(emulation.key)])
    for root in ("", "/v1"):
        app.router.add_post(root + "/inference/{model:.+}", infer)
        for form in ("/openai", ""):
            app.router.add_post(f"{root}{form}/audio/transcriptions", transcribe)
            app.router.add_post(f"{root}{form}/audio/translations", translate)
    return app


# --- what is let in


def _guard(key: str) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Return what asks for the credential first, and gives refusals their form."""

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            if not _is_let_in(request, key):
                return web.json_response({"detail": {"error": "User authentication failed"}}, status=401)
            return await handler(request)
        except _Refused as refused:
            return web.json_response(refused.body, status=refused.status)
        except web.HTTPException as error:
            return web.json_response({"detail": error.reason}, status=error.status)
        except ValueError:  # a form that breaks off, in aiohttp's reading
            return web.json_response({"detail": "There was an error parsing the body"}, status=400)

    return middleware


def _is_let_in(request: web.Request, key: str) -> bool:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return (scheme.lower() == "bearer" and token == key) or request.headers.get("xi-api-key") == key


def _known(model: str, otherwise: object) -> str:
    if model not in USD_PER_MINUTE:
        raise _Refused(404, otherwise)
    return model


@contextmanager
def _turn(busy: Counter[str], model: str) -> Iterator[None]:
    """Hold one of the places that an account has with a model."""
    if busy[model] >= _MAX_AT_ONCE:
        raise _Refused(429, {"error": f"Rate limit: more than {_MAX_AT_ONCE} concurrent requests"})
    busy[model] += 1
    try:
        yield
    finally:
        busy[model] -= 1


# --- what is read


def _validated(shape: type[Shape], form: Form) -> Shape:
    """Return the form's text parts in their types; parts that are not known are ignored, as FastAPI does."""
    try:
        return shape.model_validate({name: value for name, value in form.items() if isinstance(value, str)})
    except ValidationError as error:
        raise _invalid(error) from None


def _levels(form: Form) -> list[Level]:
    """Return the granularities asked for: without brackets, as the published document names them."""
    try:
        return _LEVELS.validate_python(form.getall("timestamp_granularities", ["segment"]))
    except ValidationError as error:
        raise _invalid(error) from None


def _file(form: Form, name: str) -> bytes:
    part = form.get(name)
    if not isinstance(part, web.FileField):
        raise _Refused(422, {"detail": [{"loc": ["body", name], "msg": "Field required", "type": "missing"}]})
    return part.file.read()


def _invalid(error: ValidationError) -> _Refused:
    """Return FastAPI's way to refuse fields."""
    details = [{"loc": ["body", *each["loc"]], "msg": each["msg"], "type": each["type"]} for each in error.errors()]
    return _Refused(422, {"detail": details})


async def _hear(ear: Ear, audio: bytes, language: str | None, prompt: str | None, *, translate: bool) -> Transcript:
    """Sniff the container, as the service must: its own SDK labels everything octet-stream."""
    try:
        return await ear.hear(audio, language=language, prompt=prompt, translate=translate)
    except (UnreadableAudio, AudioTooLong) as error:
        raise _Refused(400, {"detail": {"error": f"Could not decode the audio: {error}"}}) from None


# --- what is answered


def _request_id() -> str:
    return f"R{uuid4().hex}"


def _native_answer(heard: Transcript, asked: _Native, usd_per_minute: float) -> dict[str, Any]:
    duration_s = heard.duration_s or 0.0
    answer = {
        "text": _spaced(heard.text),
        "segments": _segments(heard),
        "language": heard.language,
        "task": asked.task,
        "duration": duration_s,
        "input_length_ms": round(duration_s * 1000),
        "request_id": _request_id(),
        "inference_status": {
            "status": "succeeded",
            "runtime_ms": round(duration_s * 10),
            "cost": duration_s / 60 * usd_per_minute,
            "tokens_generated": len(heard.words),
            "tokens_input": 0,
            "output_length": 0,
        },
    }
    words = [{"text": each.text, "start": each.start_s, "end": each.end_s} for each in heard.words]
    return answer | ({"words": words} if asked.chunk_level == "word" else {})


def _openai_answer(heard: Transcript, response_format: str, levels: list[Level], task: str) -> web.StreamResponse:
    match response_format:
        case "text":
            return web.Response(text=f"{heard.text}\n")
        case "srt":
            cues = [f"{number}\n{_cue(each, heard, ',')}" for number, each in enumerate(heard.segments, 1)]
            return web.Response(text="".join(cues))
        case "vtt":
            return web.Response(text="WEBVTT\n\n" + "".join(_cue(each, heard, ".") for each in heard.segments))
    answer: dict[str, Any] = {"text": _spaced(heard.text)}
    if response_format == "verbose_json":
        answer |= {"task": task, "language": heard.language, "duration": heard.duration_s}
        answer["segments"] = _segments(heard)
        if "word" in levels:
            answer["words"] = [_openai_word(each) for each in heard.words]
    return web.json_response(answer, headers={"x-request-id": _request_id()})


def _spaced(text: str) -> str:
    return f" {text}" if text else ""


def _segments(heard: Transcript) -> list[dict[str, Any]]:
    return [
        {"id": number, "start": each.start_s, "end": _end_s(each, heard), "text": _spaced(each.text.strip())}
        for number, each in enumerate(heard.segments)
    ]


def _end_s(each: Segment, heard: Transcript) -> float | None:
    """Return where the segment ends: with the audio where the model left it open."""
    return heard.duration_s if each.end_s is None else each.end_s


def _openai_word(each: Word) -> dict[str, Any]:
    return {"word": each.text, "start": each.start_s, "end": each.end_s}


def _cue(each: Segment, heard: Transcript, point: str) -> str:
    return f"{_stamp(each.start_s, point)} --> {_stamp(_end_s(each, heard), point)}\n{each.text.strip()}\n\n"


def _stamp(moment_s: float | None, point: str) -> str:
    milliseconds = round((moment_s or 0.0) * 1000)
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{rest:03}"
