"""Together AI as its clients see it: the OpenAI form with speakers, json or verbose_json only, English by default.

Source: together 3.1.1 (`types/audio`), togethercomputer/openapi (2026-04-28). The wording of errors is unconfirmed. The
rate-limit headers are sent and no request is refused for them. A `file` that is a URL is answered with an error: an
emulator opens no connection. Speakers are made up: the segments take turns, as many as `min_speakers` asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import uuid4

from aiohttp import web

from providers.audio.unreadable import AudioTooLong, UnreadableAudio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from multidict import MultiDictProxy

    from providers.emulators.ear import Ear, Emulation
    from providers.types import Segment, Transcript, Word

_MAX_BYTES = 80_000_000
_MAX_FORM_BYTES = _MAX_BYTES + 64 * 1024
_MAX_S = 4 * 3600.0
_WHISPER = "openai/whisper-large-v3"
_MODELS: Final = (_WHISPER, "nvidia/parakeet-tdt-0.6b-v3")
_RATE: Final = {"x-ratelimit-limit": "600", "x-ratelimit-remaining": "599", "x-ratelimit-reset": "1"}

Form: TypeAlias = "MultiDictProxy[str | bytes | bytearray | web.FileField]"


class _Refused(Exception):
    """A request that ends in an error reply."""

    def __init__(self, status: int, code: str | None, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        kind = "server_error" if status >= 500 else "invalid_request_error"
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    audio: bytes
    language: str | None  # None: tell it from the sound
    prompt: str | None
    verbose: bool
    levels: frozenset[str]
    speakers: int  # 0: not told apart


def build_app(emulation: Emulation) -> web.Application:
    """Return the service, with and without `/v1` before its routes."""

    async def transcribe(request: web.Request) -> web.StreamResponse:
        asked = _read(await _form(request))
        heard = await _hear(emulation.ear, asked, asked.language, translate=False)
        return web.json_response(_answer(heard, asked, "transcribe"))

    async def translate(request: web.Request) -> web.StreamResponse:
        form = await _form(request)
        asked = _read(form)
        if form.get("language", "en") != "en":
            raise _Refused(400, None, "This model translates to English only", "language")
        heard = await _hear(emulation.ear, asked, None, translate=True)
        return web.json_response(_answer(heard, asked, "translate"))

    app = web.Application(client_max_size=_MAX_FORM_BYTES, middlewares=[_guard(emulation.key)])
    for root in ("", "/v1"):
        app.router.add_post(f"{root}/audio/transcriptions", transcribe)
        app.router.add_post(f"{root}/audio/translations", translate)
    return app


# --- what is let in


def _guard(key: str) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Return what asks for the credential first, and gives replies their headers and refusals their form."""

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            _let_in(request, key)
            response = await handler(request)
        except _Refused as refused:
            response = web.json_response(refused.body, status=refused.status)
        except web.HTTPException as error:
            response = web.json_response(_Refused(error.status, None, error.reason).body, status=error.status)
        response.headers.update(_RATE)
        response.headers["x-request-id"] = uuid4().hex
        return response

    return middleware


def _let_in(request: web.Request, key: str) -> None:
    if request.headers.get("authorization") != f"Bearer {key}":
        raise _Refused(401, "invalid_api_key", "Invalid API key provided")


# --- what is read


async def _form(request: web.Request) -> Form:
    if request.content_type != "multipart/form-data":
        raise _Refused(415, None, "Content-Type must be multipart/form-data")
    try:
        return await request.post()
    except ValueError:
        raise _Refused(400, None, "The form could not be read") from None


def _read(form: Form) -> _Asked:
    """Return what is asked for. Raises _Refused. Parts that are not known are ignored."""
    model = _text(form, "model") or _WHISPER
    if model not in _MODELS:
        raise _Refused(404, "model_not_available", f"Unable to access model {model}")
    language = _text(form, "language") or "en"
    _number(form, "temperature", float, 0.0, 1.0)
    levels = _levels(form)
    diarize = _one_of(form, "diarize", ("false", "true"))
    least = _number(form, "min_speakers", int, 1, 100)
    most = _number(form, "max_speakers", int, 1, 100)
    if least and most and least > most:
        raise _Refused(400, None, "min_speakers is greater than max_speakers", "min_speakers")
    return _Asked(
        audio=_file(form),
        language=None if language == "auto" else language,
        prompt=_text(form, "prompt") if model == _WHISPER else None,
        verbose=_one_of(form, "response_format", ("json", "verbose_json")) == "verbose_json",
        levels=levels,
        speakers=int(least or 1) if diarize == "true" else 0,
    )


def _text(form: Form, name: str) -> str | None:
    value = form.get(name)
    return value if isinstance(value, str) else None


def _one_of(form: Form, name: str, allowed: tuple[str, ...]) -> str:
    """Return the value, or the first of those allowed where there is none."""
    value = _text(form, name) or allowed[0]
    if value not in allowed:
        raise _Refused(400, None, f"{name} must be one of {', '.join(allowed)}", name)
    return value


def _number(form: Form, name: str, kind: type[int | float], least: float, most: float) -> float | None:
    value = _text(form, name)
    if value is None:
        return None
    try:
        number = kind(value)
    except ValueError:
        number = None
    if number is None or not least <= number <= most:
        raise _Refused(400, None, f"{name} must be between {least} and {most}", name)
    return number


def _levels(form: Form) -> frozenset[str]:
    """Return the granularities: one plain part, or several with brackets."""
    named = ("timestamp_granularities", "timestamp_granularities[]")
    levels = frozenset(str(value) for name in named for value in form.getall(name, []))
    if not levels <= {"segment", "word"}:
        raise _Refused(400, None, "timestamp_granularities must be segment or word", "timestamp_granularities")
    return levels or frozenset({"segment"})


def _file(form: Form) -> bytes:
    part = form.get("file")
    if isinstance(part, web.FileField):
        audio = part.file.read()
        if len(audio) > _MAX_BYTES:
            raise _Refused(413, None, f"The upload is larger than {_MAX_BYTES} bytes", "file")
        return audio
    if isinstance(part, str) and part.startswith(("http://", "https://")):
        raise _Refused(400, None, "Failed to fetch the audio from the URL", "file")
    raise _Refused(400, None, "file must be an upload or an HTTP(S) URL", "file")


async def _hear(ear: Ear, asked: _Asked, language: str | None, *, translate: bool) -> Transcript:
    too_long = _Refused(400, "audio_too_long", f"The audio is longer than {_MAX_S:g} seconds", "file")
    try:
        heard = await ear.hear(asked.audio, language=language, prompt=asked.prompt, translate=translate)
    except UnreadableAudio as error:
        raise _Refused(400, None, f"The audio could not be decoded: {error}", "file") from None
    except AudioTooLong:
        raise too_long from None
    if (heard.duration_s or 0.0) > _MAX_S:
        raise too_long
    return heard


# --- what is answered


def _answer(heard: Transcript, asked: _Asked, task: str) -> dict[str, Any]:
    if not asked.verbose:  # speakers, where asked for, are dropped too
        return {"text": heard.text}
    answer: dict[str, Any] = {
        "task": task,
        "language": heard.language,
        "duration": heard.duration_s,
        "text": heard.text,
        "segments": [
            {"id": number, "start": each.start_s, "end": _end_s(each, heard), "text": each.text.strip()}
            for number, each in enumerate(heard.segments)
        ],
    }
    turns = [_turn(number, each, heard, asked.speakers) for number, each in enumerate(heard.segments)]
    if "word" in asked.levels:
        said = [word for turn in turns for word in turn["words"]] if asked.speakers else map(_word, heard.words)
        answer["words"] = [{name: value for name, value in word.items() if name != "id"} for word in said]
    if asked.speakers:
        answer["speaker_segments"] = turns
    return answer


def _end_s(each: Segment, heard: Transcript) -> float:
    """Return where the segment ends: with the audio where the model left it open."""
    return each.end_s if each.end_s is not None else heard.duration_s or each.start_s


def _turn(number: int, segment: Segment, heard: Transcript, speakers: int) -> dict[str, Any]:
    """Give the segment, and the words that begin in it, to one of the speakers."""
    speaker = f"SPEAKER_{number % max(1, speakers):02}"
    end_s = _end_s(segment, heard)
    inside = [word for word in heard.words if segment.start_s <= word.start_s < end_s]
    return {
        "id": number,
        "speaker_id": speaker,
        "start": segment.start_s,
        "end": end_s,
        "text": segment.text.strip(),
        "words": [{"id": place, **_word(word), "speaker_id": speaker} for place, word in enumerate(inside)],
    }


def _word(each: Word) -> dict[str, Any]:
    return {"word": each.text, "start": each.start_s, "end": each.end_s}
