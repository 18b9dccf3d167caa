"""Self-hosted servers that speak OpenAI's form, each under a path of its own, and at the root a plain one.

`/speaches/v1`, `/vllm/v1`, `/whisper-cpp`, `/localai/v1` and `/nim/v1` differ as the servers do; `/` and `/v1` do what
all share.

Source: speaches `src/speaches` (2026-03-26), vLLM `entrypoints/speech_to_text` (2026), whisper.cpp `examples/server`
(2026-08-22), LocalAI `core/http/endpoints/openai/transcription.go` and `core/schema` (2026-08-22),
NVIDIA's NIM for speech, docs.nvidia.com/nim/speech, HTTP (2026; the envelope of its errors is not documented).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from providers.audio.unreadable import UnreadableAudio
from providers.emulators import openai_form
from providers.emulators.ear import container_of
from providers.languages import NAMES, code_of
from providers.locales import locale_of
from providers.types import Container

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from providers.emulators.ear import Emulation
    from providers.emulators.openai_form import Form
    from providers.types import Segment, Transcript

    _Answer = Callable[[web.Request, Form, Transcript, str], Awaitable[web.StreamResponse]]

_ANY_LANGUAGE: Final = frozenset({"auto", "multi", None})
_ALL_FORMATS: Final = frozenset({"json", "text", "verbose_json", "srt", "vtt"})


class _Refusal(Exception):
    """An error reply, before a server has put it into its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flavour:
    """How one server refuses and answers."""

    error: Callable[[int, str], dict[str, Any]]
    answer: _Answer
    formats: frozenset[str] = _ALL_FORMATS
    default_format: str = "json"
    default_language: str | None = None  # None: it listens for the language
    wrong_key: int | None = 401  # None: it asks for no key
    unreadable: int = 400
    no_file: int = 422
    needs_model: bool = True
    languages: frozenset[str] = frozenset({*NAMES, "auto"})
    needs_either: bool = False  # language or model
    max_bytes: int = 64 * 1024 * 1024
    too_large: int = 413
    containers: frozenset[Container] | None = None


def build_app(emulation: Emulation) -> web.Application:
    """Return all flavours in one application."""
    app = web.Application(client_max_size=openai_form.MAX_READ_BYTES)
    for prefix in ("", "/v1"):
        _add(app, emulation, f"{prefix}/audio", _GENERIC)
    _add(app, emulation, "/speaches/v1/audio", _SPEACHES)
    _add(app, emulation, "/vllm/v1/audio", _VLLM)
    _add(app, emulation, "/nim/v1/audio", _NIM)
    app.router.add_get("/nim/v1/health/ready", _ready)
    for path in ("/localai/v1/audio/transcriptions", "/localai/audio/transcriptions"):
        app.router.add_post(path, _route(emulation, _LOCALAI))
    app.router.add_post("/whisper-cpp/inference", _route(emulation, _WHISPER_CPP))
    return app


def _add(app: web.Application, emulation: Emulation, prefix: str, flavour: _Flavour) -> None:
    app.router.add_post(f"{prefix}/transcriptions", _route(emulation, flavour))
    app.router.add_post(f"{prefix}/translations", _route(emulation, flavour, task="translate"))


def _route(
    emulation: Emulation, flavour: _Flavour, *, task: str = "transcribe"
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(request: web.Request) -> web.StreamResponse:
        try:
            form = await _admitted(request, emulation, flavour)
            heard = await _hear(emulation, form, flavour, translate=task == "translate" or form.is_true("translate"))
        except _Refusal as refusal:
            return web.json_response(flavour.error(refusal.status, refusal.message), status=refusal.status)
        return await flavour.answer(request, form, heard, task)

    return serve


async def _admitted(request: web.Request, emulation: Emulation, flavour: _Flavour) -> Form:
    """Check key, size and form. Raises _Refusal."""
    if flavour.wrong_key and request.headers.get("authorization") != f"Bearer {emulation.key}":
        raise _Refusal(flavour.wrong_key, "Invalid or missing API key")
    if (request.content_length or 0) > flavour.max_bytes:
        raise _Refusal(flavour.too_large, "Maximum file size exceeded")
    try:
        form = await openai_form.read_form(request)
    except ValueError as error:
        raise _Refusal(flavour.no_file, str(error)) from error
    if form.audio is None:
        raise _Refusal(flavour.no_file, "no 'file' field in the request")
    if flavour.needs_model and not form.one("model"):
        raise _Refusal(flavour.no_file, "Field required: model")
    if form.one("model") == "missing/model":
        raise _Refusal(404, "Model 'missing/model' is not installed locally.")
    if flavour.needs_either and not (form.one("model") or form.one("language")):
        raise _Refusal(400, "Either language or model must be given")
    _check(form, flavour)
    return form


def _check(form: Form, flavour: _Flavour) -> None:
    wanted = form.one("response_format", flavour.default_format)
    if wanted not in flavour.formats:
        raise _Refusal(400, f"Currently only supports response_format: {', '.join(sorted(flavour.formats))}")
    if "language" in form.fields and form.one("language") not in flavour.languages:
        raise _Refusal(400, f"Unsupported language: {form.one('language')}")
    if form.is_true("use_beam_search") and form.is_true("stream"):
        raise _Refusal(400, "Streaming is not supported with beam search")
    if form.is_true("stream") and wanted == "verbose_json" and flavour is _VLLM:
        raise _Refusal(400, "verbose_json format doesn't support streaming case")


async def _hear(emulation: Emulation, form: Form, flavour: _Flavour, *, translate: bool) -> Transcript:
    """Listen as the server would. Raises _Refusal."""
    audio = form.audio or b""
    language = form.one("language") or flavour.default_language
    if flavour.containers is not None and container_of(audio) not in flavour.containers:
        raise _Refusal(flavour.unreadable, "failed to read audio data")
    try:
        return await emulation.ear.hear(
            audio,
            language=None if language in _ANY_LANGUAGE else code_of(language or "") or language,
            translate=translate,
            prompt=form.one("prompt") or None,
        )
    except UnreadableAudio as error:
        raise _Refusal(flavour.unreadable, "failed to read audio data") from error


def _levels(form: Form) -> tuple[str, ...]:
    return form.fields.get("timestamp_granularities", ("segment",))


def _subtitles(heard: Transcript, wanted: str, *, text_type: str = "text/plain") -> web.Response | None:
    """Return text, srt or vtt; None for the JSON formats."""
    match wanted:
        case "text":
            return web.Response(text=heard.text, content_type=text_type)
        case "srt":
            return web.Response(text=openai_form.srt(heard), content_type="application/x-subrip")
        case "vtt":
            return web.Response(text=openai_form.vtt(heard), content_type="text/vtt")
        case _:
            return None


def _openai_events(heard: Transcript) -> Iterator[dict[str, Any]]:
    for piece in openai_form.pieces(heard.text):
        yield {"type": "transcript.text.delta", "delta": piece}
    yield {"type": "transcript.text.done", "text": heard.text}


# --- the plain one


async def _answer_plainly(request: web.Request, form: Form, heard: Transcript, task: str) -> web.StreamResponse:
    wanted = form.one("response_format", "json")
    if form.is_true("stream"):
        return await openai_form.stream(request, _openai_events(heard), done_mark=True)
    if wanted == "verbose_json":
        return web.json_response(openai_form.verbose_json(heard, _levels(form), task=task))
    return _subtitles(heard, wanted) or web.json_response({"text": heard.text})


def _openai_error(status: int, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


_GENERIC: Final = _Flavour(error=_openai_error, answer=_answer_plainly, no_file=400)


# --- speaches


async def _answer_as_speaches(request: web.Request, form: Form, heard: Transcript, task: str) -> web.StreamResponse:
    """Answer with every field of OpenAI's models, nulls included; language is a code."""
    wanted = form.one("response_format", "json")
    if form.is_true("stream"):
        return await openai_form.stream(request, _openai_events(heard), done_mark=False)
    if wanted == "verbose_json":
        answer = openai_form.verbose_json(heard, _levels(form), task=task)
        answer |= {"language": heard.language or "en", "usage": None}
        return web.json_response({"segments": None, "words": None, **answer})
    return _subtitles(heard, wanted) or web.json_response({"text": heard.text, "logprobs": None, "usage": None})


_SPEACHES: Final = _Flavour(
    error=lambda _, message: {"detail": message}, answer=_answer_as_speaches, wrong_key=403, unreadable=415
)


# --- vLLM


async def _answer_as_vllm(request: web.Request, form: Form, heard: Transcript, task: str) -> web.StreamResponse:
    """Answer with a duration in a string and words that never come."""
    if form.is_true("stream"):
        return await openai_form.stream(request, _chat_chunks(heard, form, task), done_mark=True)
    if form.one("response_format", "json") == "text":
        return web.Response(text=heard.text, content_type="text/plain")
    if form.one("response_format", "json") == "json":
        usage = {"usage": openai_form.billed(heard)} if task == "transcribe" else {}
        return web.json_response({"text": heard.text, **usage})
    segments = [
        {**openai_form.segment_json(i, segment, heard), "no_speech_prob": None, "seek": segment.start_s}
        for i, segment in enumerate(heard.segments)
    ]
    answer = {"duration": str(heard.duration_s), "language": heard.language or "en", "text": heard.text}
    return web.json_response({**answer, "segments": segments, "words": None})


def _chat_chunks(heard: Transcript, form: Form, task: str) -> Iterator[dict[str, Any]]:
    """Yield what vLLM streams: the chunks of a chat, not OpenAI's transcription events."""
    kind, prefix = ("transcription", "trsc") if task == "transcribe" else ("translation", "trsl")
    head = {"id": f"{prefix}-emulated", "object": f"{kind}.chunk", "created": 0, "model": form.one("model")}
    for piece in openai_form.pieces(heard.text):
        yield {**head, "choices": [{"delta": {"content": piece}, "finish_reason": None, "stop_reason": None}]}
    yield {**head, "choices": [{"delta": {"content": ""}, "finish_reason": "stop", "stop_reason": None}]}


_VLLM_TYPES: Final = {401: "Unauthorized", 404: "NotFoundError"}

_VLLM: Final = _Flavour(
    error=lambda status, message: {
        "error": {
            "message": message,
            "type": _VLLM_TYPES.get(status, "BadRequestError"),
            "param": None,
            "code": status,
        }
    },
    answer=_answer_as_vllm,
    formats=frozenset({"json", "text", "verbose_json"}),
    needs_model=False,
    max_bytes=25 * 1024 * 1024,
    too_large=400,
)


# --- whisper.cpp


async def _answer_as_whisper_cpp(_: web.Request, form: Form, heard: Transcript, task: str) -> web.StreamResponse:
    """Answer with a line for each segment, and with tokens for words."""
    del task
    lined = "".join(f" {segment.text.strip()}\n" for segment in heard.segments)
    wanted = form.one("response_format", "json")
    if wanted == "text":
        return web.Response(text=lined, content_type="text/html")
    if wanted != "verbose_json":
        return _subtitles(heard, wanted) or web.json_response({"text": lined})
    verbose = openai_form.verbose_json(heard, (), task="translate" if form.is_true("translate") else "transcribe")
    code = heard.language or "en"
    return web.json_response(
        {
            **verbose,
            "text": lined,
            "segments": [_cpp_segment(i, segment, heard) for i, segment in enumerate(heard.segments)],
            "detected_language": verbose["language"],
            "detected_language_probability": 0.99,
            "language_probabilities": {code: 0.99},
        }
    )


def _cpp_segment(index: int, segment: Segment, heard: Transcript) -> dict[str, Any]:
    end_s = openai_form.end_s(segment, heard)
    tokens: list[dict[str, Any]] = []
    for word in heard.words:
        if segment.start_s <= (word.start_s + word.end_s) / 2 <= end_s:
            middle, middle_s = (len(word.text) + 1) // 2, (word.start_s + word.end_s) / 2
            tokens += [
                {"word": f" {word.text[:middle]}", "start": word.start_s, "end": middle_s, "t_dtw": -1},
                {"word": word.text[middle:], "start": middle_s, "end": word.end_s, "t_dtw": -1},
            ]
    whole = openai_form.segment_json(index, segment, heard)
    kept = {key: whole[key] for key in ("id", "text", "start", "end", "tokens", "temperature", "avg_logprob")}
    return {**kept, "words": [{**token, "probability": 0.98} for token in tokens], "no_speech_prob": 0.01}


_WHISPER_CPP: Final = _Flavour(
    error=lambda _, message: {"error": message},
    answer=_answer_as_whisper_cpp,
    default_language="en",
    wrong_key=None,
    no_file=400,
    needs_model=False,
    containers=frozenset({Container.WAV, Container.MP3, Container.FLAC, Container.OGG}),
)


# --- LocalAI


async def _answer_as_localai(request: web.Request, form: Form, heard: Transcript, task: str) -> web.StreamResponse:
    """Answer verbosely unless told, with speakers unless told, and words under `text`."""
    del task
    wanted = form.one("response_format", "verbose_json")
    if form.is_true("stream"):
        return await openai_form.stream(request, _openai_events(heard), done_mark=True)
    short = {"text": heard.text, "language": heard.language or "en", "duration": heard.duration_s}
    if wanted == "json":
        return web.json_response(short)
    if wanted in {"text", "srt", "vtt"}:
        return _subtitles(heard, wanted) or web.Response()
    speaker = {} if form.one("diarize").lower() == "false" else {"speaker": "SPEAKER_00"}
    segments = [
        {
            "id": i,
            "start": segment.start_s,
            "end": openai_form.end_s(segment, heard),
            "text": segment.text,
            "tokens": [],
            **speaker,
        }
        for i, segment in enumerate(heard.segments)
    ]
    words = [{"start": word.start_s, "end": word.end_s, "text": word.text} for word in heard.words]
    timed = {"words": words} if "word" in _levels(form) else {}
    return web.json_response({**short, **timed, "segments": segments})


_LOCALAI: Final = _Flavour(
    error=lambda status, message: {"error": {"code": status, "message": message, "type": ""}},
    answer=_answer_as_localai,
    no_file=400,
    default_format="verbose_json",
    formats=_ALL_FORMATS,
    max_bytes=15_000_000,
)


# --- NIM


async def _answer_as_nim(_: web.Request, form: Form, heard: Transcript, task: str) -> web.StreamResponse:
    """Answer with a text and nothing else."""
    del task
    return _subtitles(heard, form.one("response_format", "json")) or web.json_response({"text": heard.text})


async def _ready(_: web.Request) -> web.Response:
    return web.json_response({"status": "ready"})


_NIM: Final = _Flavour(
    error=lambda _, message: {"detail": message},
    answer=_answer_as_nim,
    formats=frozenset({"json", "text"}),
    wrong_key=None,
    needs_model=False,
    languages=frozenset({"multi", "es-US", *filter(None, map(locale_of, NAMES))}),  # none without its region
    needs_either=True,
    containers=frozenset({Container.WAV, Container.FLAC, Container.OGG}),
)
