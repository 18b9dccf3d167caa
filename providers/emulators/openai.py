"""OpenAI's audio routes as their clients see them: a form in, six formats or a stream out, its error bodies.

The key with `-limited` behind it is always over its rate; with `-broke`, out of credit.

Source: openai-openapi 2.3.0 (2026-08-21), openai 3.54.0 `types/audio`; error bodies as users report them (vercel/ai
8214, ThinLineRadio 114, riffado 101, litellm 18125, speakr 42 and 168, buzz 381).

Longer than other files: both routes answer in the same six formats, and Azure's emulator answers with all of it.
"""

from __future__ import annotations

import json
import math
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from providers.audio.unreadable import UnreadableAudio
from providers.emulators import openai_form
from providers.languages import NAMES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from providers.emulators.ear import Emulation
    from providers.emulators.openai_form import Form
    from providers.types import Transcript

    _Answer = Callable[[web.Request, Emulation], Awaitable[web.StreamResponse]]

MAX_BYTES = 25 * 1024 * 1024
_MIN_S, _MAX_S = 0.1, 1400.0
_EXTENSIONS = ["flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm"]
_SUBTITLES = frozenset({"json", "text", "srt", "verbose_json", "vtt"})
_FORMATS = _SUBTITLES | {"diarized_json"}
_GPT_4O = frozenset({"gpt-4o-transcribe", "gpt-4o-mini-transcribe"})
_GPT_4O_DATED = frozenset({"gpt-4o-mini-transcribe-2025-12-15", "gpt-4o-mini-transcribe-2025-03-20"})
_DIARIZES = "gpt-4o-transcribe-diarize"
_MODELS: Final = {
    "whisper-1": _SUBTITLES,
    "gpt-transcribe": frozenset({"json"}),
    **dict.fromkeys(_GPT_4O | _GPT_4O_DATED, frozenset({"json", "text"})),
    _DIARIZES: frozenset({"json", "text", "diarized_json"}),
}
_SHUTDOWN: Final = {
    **dict.fromkeys(_MODELS, "2027-02-26"),
    "gpt-transcribe": None,
    "gpt-4o-mini-transcribe-2025-03-20": "2027-01-20",
}


class Refusal(Exception):
    """An error reply: status, and the four fields of its envelope."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.envelope = {"message": message, "type": kind, "param": param, "code": code}


def build_app(emulation: Emulation) -> web.Application:
    """Return the service under `/v1`, as the SDK asks, and at the root."""

    async def transcribe(request: web.Request) -> web.StreamResponse:
        return await _guarded(request, emulation, _transcribe)

    async def translate(request: web.Request) -> web.StreamResponse:
        return await _guarded(request, emulation, _translate)

    async def models(request: web.Request) -> web.StreamResponse:
        return await _guarded(request, emulation, _list_models)

    app = web.Application(client_max_size=openai_form.MAX_READ_BYTES)
    for prefix in ("", "/v1"):
        app.router.add_post(f"{prefix}/audio/transcriptions", transcribe)
        app.router.add_post(f"{prefix}/audio/translations", translate)
        app.router.add_get(f"{prefix}/models", models)
    return app


async def _guarded(request: web.Request, emulation: Emulation, answer: _Answer) -> web.StreamResponse:
    try:
        _admit(request, emulation.key)
        return await answer(request, emulation)
    except Refusal as refusal:
        return _refused(refusal)


def _admit(request: web.Request, key: str) -> None:
    """Check the key, then the size, as the real service does before it reads a form."""
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if given == f"{key}-limited":
        raise Refusal(429, "Rate limit reached.", kind="requests", code="rate_limit_exceeded")
    if given == f"{key}-broke":
        quota = "insufficient_quota"
        raise Refusal(429, "You exceeded your current quota.", kind=quota, code=quota)
    if given != key:
        raise Refusal(401, "Incorrect API key provided.", code="invalid_api_key")
    size = request.content_length or 0
    if size > MAX_BYTES:
        message = f"Maximum content size limit ({MAX_BYTES}) exceeded ({size} bytes read)"
        raise Refusal(413, message, kind="server_error")


async def _list_models(request: web.Request, emulation: Emulation) -> web.StreamResponse:
    del request, emulation
    models = [
        {"id": name, "object": "model", "created": 0, "owned_by": "openai", "shutdown_date": _SHUTDOWN[name]}
        for name in _MODELS
    ]
    return web.json_response({"object": "list", "data": models})


async def _transcribe(request: web.Request, emulation: Emulation) -> web.StreamResponse:
    return await answer_transcription(request, await read_form(request), emulation)


async def answer_transcription(request: web.Request, form: Form, emulation: Emulation) -> web.StreamResponse:
    """Answer a form, on Azure too, which reads the model from somewhere else. Raises Refusal."""
    audio, model = _checked_file(form), form.one("model")
    _check_format(form, _MODELS[model])
    for check in (_check_temperature, _check_language, _check_times, _check_include, _check_chunking, _check_lists):
        check(form, model)
    language = form.one("language") or form.one("languages") or None
    heard = await _hear(emulation, form, audio, language=language)
    if model != "whisper-1" and (heard.duration_s or 0) > _MAX_S:
        message = (
            f"audio duration {heard.duration_s} seconds is longer than {_MAX_S:g} seconds "
            "which is the maximum for this model"
        )
        raise Refusal(400, message, code="invalid_value")
    if form.is_true("stream") and model != "whisper-1":
        return await openai_form.stream(request, _events(heard, form), done_mark=False, headers=_headers(model))
    return _rendered(heard, form, "transcribe")


async def _translate(request: web.Request, emulation: Emulation) -> web.StreamResponse:
    return await answer_translation(await read_form(request), emulation)


async def answer_translation(form: Form, emulation: Emulation) -> web.StreamResponse:
    """Answer a form, on Azure too. Raises Refusal."""
    audio = _checked_file(form)
    if form.one("model") != "whisper-1":
        message = "Translation is available for whisper-1 only."
        raise Refusal(400, message, param="model", code="unsupported_value")
    _check_format(form, _SUBTITLES)
    _check_temperature(form, "whisper-1")
    heard = await _hear(emulation, form, audio, translate=True)
    return _rendered(heard, form, "translate")


async def read_form(request: web.Request) -> Form:
    """Return the form. Raises Refusal where the body is none."""
    try:
        return await openai_form.read_form(request)
    except ValueError as error:
        raise Refusal(400, str(error)) from error


# --- the rules of the fields


def _checked_file(form: Form) -> bytes:
    """Return the audio of a form whose model exists and whose file's name ends as it should."""
    model = form.one("model")
    if not model:
        raise Refusal(400, "you must provide a model parameter")
    if model not in _MODELS:
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise Refusal(404, message, code="model_not_found")
    if form.audio is None or form.file_name is None:
        raise Refusal(400, "file is required", param="file", code="missing_required_parameter")
    if PurePath(form.file_name).suffix.lower().removeprefix(".") not in _EXTENSIONS:
        raise Refusal(400, f"Invalid file format. Supported formats: {_EXTENSIONS}")
    return form.audio


def _check_format(form: Form, allowed: frozenset[str]) -> None:
    wanted = form.one("response_format", "json")
    if wanted not in _FORMATS:
        message = f"Invalid value: '{wanted}'. Supported values are: {sorted(_FORMATS)}."
        raise Refusal(400, message, param="response_format", code="invalid_value")
    if wanted not in allowed:
        message = (
            f"response_format '{wanted}' is not compatible with model '{form.one('model')}-api-ev3'. "
            f"Use one of {sorted(allowed)} instead."
        )
        raise Refusal(400, message, param="response_format", code="unsupported_value")


def _check_temperature(form: Form, model: str) -> None:
    del model
    try:
        is_valid = 0 <= float(form.one("temperature", "0")) <= 1
    except ValueError:
        is_valid = False
    if not is_valid:
        message = "Invalid 'temperature': expected a number from 0 to 1."
        raise Refusal(400, message, param="temperature", code="invalid_value")


def _check_language(form: Form, model: str) -> None:
    for name in ("language", "languages"):
        for language in form.fields.get(name, ()):
            if language not in NAMES:
                message = f"Invalid language '{language}'. Language parameter must be specified in ISO-639-1 format."
                raise Refusal(400, message, param=name, code="invalid_language_format")
    if "languages" in form.fields:
        _only_for(model, "languages", {"gpt-transcribe"})


def _check_times(form: Form, model: str) -> None:
    levels = form.fields.get("timestamp_granularities", ())
    if not levels:
        return
    name = "timestamp_granularities"
    _only_for(model, name, {"whisper-1"})
    if set(levels) - {"segment", "word"}:
        raise Refusal(400, f"Invalid '{name}'.", param=name, code="invalid_value")
    if form.one("response_format") != "verbose_json":
        message = f"{name} needs response_format verbose_json."
        raise Refusal(400, message, param=name, code="invalid_value")


def _check_include(form: Form, model: str) -> None:
    if "include" not in form.fields:
        return
    _only_for(model, "include", _GPT_4O | _GPT_4O_DATED)
    if set(form.fields["include"]) != {"logprobs"} or form.one("response_format", "json") != "json":
        message = "include knows logprobs only, with response_format json."
        raise Refusal(400, message, param="include", code="invalid_value")


def _check_chunking(form: Form, model: str) -> None:
    """Read `auto`, a JSON object in one part, or the SDK's `chunking_strategy[type]`."""
    name = "chunking_strategy"
    given = form.one(name)
    if given.startswith("{"):
        try:
            kind = str(json.loads(given).get("type"))
        except ValueError:
            kind = "unreadable"
    else:
        kind = form.one(f"{name}[type]") or given
    if kind not in {"", "auto", "server_vad"} or (not kind and model == _DIARIZES):
        message = f"{name} is required for diarization models: 'auto' or an object of type server_vad."
        raise Refusal(400, message, param=name, code="invalid_value")


def _check_lists(form: Form, model: str) -> None:
    if "prompt" in form.fields:
        _only_for(model, "prompt", _MODELS.keys() - {_DIARIZES})
    if "keywords" in form.fields:
        _only_for(model, "keywords", {"gpt-transcribe"})
    for name in ("known_speaker_names", "known_speaker_references"):
        if name in form.fields:
            _only_for(model, name, {_DIARIZES})
            if len(form.fields[name]) > 4:
                raise Refusal(400, f"At most 4 {name}.", param=name, code="invalid_value")


def _only_for(model: str, name: str, models: frozenset[str] | set[str]) -> None:
    if model not in models:
        message = f"{name} is not supported by this model."
        raise Refusal(400, message, param=name, code="unsupported_value")


async def _hear(
    emulation: Emulation, form: Form, audio: bytes, *, language: str | None = None, translate: bool = False
) -> Transcript:
    prompt = form.one("prompt") or None
    try:
        heard = await emulation.ear.hear(audio, language=language, translate=translate, prompt=prompt)
    except UnreadableAudio as error:
        message = "The audio file could not be decoded or its format is not supported."
        raise Refusal(400, message) from error
    if (heard.duration_s or 0.0) < _MIN_S:
        message = f"Audio file is too short. Minimum audio length is {_MIN_S} seconds."
        raise Refusal(400, message, param="file", code="audio_too_short")
    return heard


# --- the answers


def _rendered(heard: Transcript, form: Form, task: str) -> web.Response:
    model, wanted = form.one("model"), form.one("response_format", "json")
    match wanted:
        case "text":
            return _plain(f"{heard.text}\n", model)
        case "srt":
            return _plain(openai_form.srt(heard), model)
        case "vtt":
            return _plain(openai_form.vtt(heard), model)
        case "verbose_json":
            levels = form.fields.get("timestamp_granularities", ("segment",))
            answer = openai_form.verbose_json(heard, levels, task=task)
            if task == "translate":
                answer["language"] = "english"
            return _json({**answer, "usage": openai_form.billed(heard)}, model)
        case "diarized_json":
            answer = {"task": task, "duration": heard.duration_s, "text": heard.text}
            return _json({**answer, "segments": _speakers(heard, form), "usage": _usage(heard, model)}, model)
        case _:
            answer = {"text": heard.text, "usage": _usage(heard, model)}
            if model == "gpt-transcribe":
                answer["languages"] = [{"code": heard.language}] if heard.language else []
            if "include" in form.fields:
                answer["logprobs"] = [_logprob(piece) for piece in openai_form.pieces(heard.text)]
            return _json(answer if task == "transcribe" else {"text": heard.text}, model)


def _speakers(heard: Transcript, form: Form) -> list[dict[str, Any]]:
    """Return the diarized segments. The ear tells no voices apart: one speaker says all."""
    speaker = form.fields.get("known_speaker_names", ("A",))[0]
    return [
        {
            "type": "transcript.text.segment",
            "id": f"seg_{i:03}",
            "start": segment.start_s,
            "end": openai_form.end_s(segment, heard),
            "text": segment.text,
            "speaker": speaker,
        }
        for i, segment in enumerate(heard.segments, start=1)
    ]


def _events(heard: Transcript, form: Form) -> Iterator[dict[str, Any]]:
    model = form.one("model")
    for piece in openai_form.pieces(heard.text):
        event: dict[str, Any] = {"type": "transcript.text.delta", "delta": piece}
        yield {**event, "logprobs": [_logprob(piece)]} if "include" in form.fields else event
    if form.one("response_format") == "diarized_json":
        yield from _speakers(heard, form)
    done: dict[str, Any] = {"type": "transcript.text.done", "text": heard.text, "usage": _usage(heard, model)}
    yield done


def _logprob(piece: str) -> dict[str, Any]:
    return {"token": piece, "logprob": -0.01, "bytes": list(piece.encode())}


def _usage(heard: Transcript, model: str) -> dict[str, Any]:
    """Return the bill: by the second for whisper-1 and gpt-transcribe, by the token (ten a second) for the others."""
    if model in {"whisper-1", "gpt-transcribe"}:
        return openai_form.billed(heard)
    heard_tokens, written = math.ceil((heard.duration_s or 0.0) * 10), len(heard.text.split())
    return {
        "type": "tokens",
        "input_tokens": heard_tokens,
        "input_token_details": {"text_tokens": 0, "audio_tokens": heard_tokens},
        "output_tokens": written,
        "total_tokens": heard_tokens + written,
    }


def _headers(model: str) -> dict[str, str]:
    """Return what accompanies every answer; whisper-1 has no allowance of tokens."""
    headers = {
        "x-request-id": "req_emulated",
        "openai-processing-ms": "1",
        "openai-version": "2020-10-01",
        "openai-organization": "emulated",
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-reset-requests": "120ms",
    }
    if model != "whisper-1":
        headers |= {
            "x-ratelimit-limit-tokens": "200000",
            "x-ratelimit-remaining-tokens": "199000",
            "x-ratelimit-reset-tokens": "6m0s",
        }
    return headers


def _json(answer: dict[str, Any], model: str) -> web.Response:
    return web.json_response(answer, headers=_headers(model))


def _plain(text: str, model: str) -> web.Response:
    return web.Response(text=text, content_type="text/plain", headers=_headers(model))


def _refused(refusal: Refusal) -> web.Response:
    body: dict[str, Any] = {"error": refusal.envelope}
    headers = {"x-request-id": "req_emulated"}
    if refusal.status == 413:
        body["usage"] = {"type": "duration", "seconds": 0}
    if refusal.envelope["code"] == "rate_limit_exceeded":
        headers |= {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1.2s"}
    return web.json_response(body, status=refusal.status, headers=headers)
