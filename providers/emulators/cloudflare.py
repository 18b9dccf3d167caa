"""Cloudflare Workers AI as its SDK sees it: every answer in an envelope, refusals with numbers.

Source: cloudflare 5.9.0, cloudflare/cloudflare-docs (workers-ai-models, `errors.mdx`). The wording of errors is
unconfirmed. Left out: every model but Whisper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import pybase64
from aiohttp import web

from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.emulators.door import Refused, guard, json_object
from providers.emulators.openai_form import vtt
from providers.emulators.turns import Turn, turns

if TYPE_CHECKING:
    from providers.emulators.ear import Emulation
    from providers.types import Transcript, Word

_MAX_BYTES = 100 * 1024 * 1024
_ACCOUNT: Final = "acc"
_TURBO: Final = "@cf/openai/whisper-large-v3-turbo"
_MODELS: Final = (_TURBO, "@cf/openai/whisper", "@cf/openai/whisper-tiny-en")


def base_urls(root: str) -> dict[str, str]:
    """Return an account's address."""
    return {"api": f"{root}/client/v4/accounts/{_ACCOUNT}/ai/run"}


def build_app(emulation: Emulation) -> web.Application:
    """Return the service for the account `acc`. A model's slashes may be written out or not."""

    def let_in(request: web.Request) -> None:
        if request.headers.get("authorization") != f"Bearer {emulation.key}":
            raise Refused(401, "Authentication error", code=10000)

    async def run(request: web.Request) -> web.Response:
        model = request.match_info["model"]
        if request.match_info["account"] != _ACCOUNT:
            raise Refused(404, "Could not route to the account", code=7003)
        if model not in _MODELS:
            raise Refused(400, f"No such model {model} or task", code=5007)
        asked = await _read(request, model)
        try:
            heard = await emulation.ear.hear(
                asked["audio"],
                language=asked.get("language"),
                translate=asked.get("task") == "translate",
                prompt=asked.get("initial_prompt"),
            )
        except (UnreadableAudio, AudioTooLong):
            raise Refused(400, "AiError: the audio could not be decoded", code=3010) from None
        result = _in_segments(heard) if model == _TURBO else _in_words(heard)
        return web.json_response({"result": result, "success": True, "errors": [], "messages": []})

    app = web.Application(client_max_size=_MAX_BYTES, middlewares=[guard(let_in, _answer)])
    app.on_response_prepare.append(_number)
    app.router.add_post("/client/v4/accounts/{account}/ai/run/{model:.+}", run)
    return app


async def _number(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["cf-ray"] = f"{uuid4().hex[:16]}-FRA"


def _answer(refused: Refused) -> web.Response:
    errors = [{"code": refused.more.get("code", 3006), "message": refused.said}]
    body = {"result": None, "success": False, "errors": errors, "messages": []}
    return web.json_response(body, status=refused.status)


async def _read(request: web.Request, model: str) -> dict[str, Any]:
    """Return what is asked for, the audio decoded. Raises Refused."""
    if request.content_type != "application/json":
        content = await request.read()
        if model == _TURBO or not content:
            raise Refused(400, "Missing headers or body", code=3003)
        return {"audio": content}
    asked = await json_object(request)
    audio = asked.get("audio")
    if model != _TURBO:
        if not isinstance(audio, list) or not all(isinstance(each, int) and 0 <= each <= 255 for each in audio):
            raise Refused(400, "audio must be an array of integers from 0 to 255", code=3003)
        return {"audio": bytes(audio)}
    if not isinstance(audio, str):
        raise Refused(400, "audio must be a base64 string", code=3003)
    if asked.get("task", "transcribe") not in {"transcribe", "translate"}:
        raise Refused(400, "task must be transcribe or translate", code=3003)
    try:
        return {**asked, "audio": pybase64.b64decode(audio, validate=True)}
    except ValueError:
        raise Refused(400, "Invalid base64 data", code=5004) from None


def _in_segments(heard: Transcript) -> dict[str, Any]:
    info = {"language": heard.language, "language_probability": 0.99}
    return {
        "transcription_info": {**info, "duration": heard.duration_s, "duration_after_vad": heard.duration_s},
        "text": heard.text,
        "word_count": len(heard.words),
        "segments": [_segment(turn) for turn in turns(heard)],
        "vtt": vtt(heard),
    }


def _segment(turn: Turn) -> dict[str, Any]:
    return {
        "start": turn.start_s,
        "end": turn.end_s,
        "text": f" {turn.text}",
        "temperature": 0.0,
        "avg_logprob": -0.2,
        "compression_ratio": 1.1,
        "no_speech_prob": 0.01,
        "words": [{**_word(each), "word": f" {each.text}"} for each in turn.words],
    }


def _in_words(heard: Transcript) -> dict[str, Any]:
    words = [_word(each) for each in heard.words]
    return {"text": heard.text, "word_count": len(words), "words": words, "vtt": vtt(heard)}


def _word(each: Word) -> dict[str, Any]:
    return {"word": each.text, "start": each.start_s, "end": each.end_s}
