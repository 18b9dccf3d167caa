"""Whisper deployed on Baseten as its callers see it: JSON with base64, and segments.

The environment `cold` was scaled to zero: its first call is refused, and starts it. `missing` is none.

Source: docs.baseten.co "Transcription API" (2026-11). The wording of errors is unconfirmed, and so is the status for
audio that cannot be read. Left out: chains, async calls, and parameters that depend on how the model was deployed. An
address is answered with a refusal: an emulator opens no connection.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from aiohttp import web

from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.emulators.door import Refused, guard, json_object
from providers.emulators.openai_form import end_s
from providers.languages import NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.emulators.ear import Emulation
    from providers.types import Transcript

_MAX_BYTES = 256 * 1024 * 1024
_PARAMETERS = frozenset({"prompt", "audio_language"})


def base_urls(root: str) -> Mapping[str, str]:
    """Return where an account finds the service: here one host is enough for every deployment."""
    return {"api": f"{root}/environments/production"}


def build_app(emulation: Emulation) -> web.Application:
    """Return a deployment in each environment."""
    asleep = {"cold"}

    def let_in(request: web.Request) -> None:
        if request.headers.get("authorization") != f"Api-Key {emulation.key}":
            raise Refused(401, "Unauthorized")

    async def predict(request: web.Request) -> web.Response:
        environment = request.match_info["environment"]
        if environment == "missing":
            raise Refused(404, "Model not found")
        if environment in asleep:
            asleep.remove(environment)
            raise Refused(503, "The model is not ready")
        return web.json_response(await _heard(emulation, await json_object(request)))

    app = web.Application(client_max_size=_MAX_BYTES, middlewares=[guard(let_in, _answer)])
    app.router.add_post("/environments/{environment}/predict", predict)
    return app


def _answer(refused: Refused) -> web.Response:
    return web.json_response({"error": refused.said}, status=refused.status)


async def _heard(emulation: Emulation, body: Mapping[str, Any]) -> dict[str, Any]:
    asked = body.get("whisper_input")
    if not isinstance(asked, dict):
        raise Refused(400, "whisper_input is required")
    audio, parameters = _audio(asked.get("audio")), _parameters(asked.get("whisper_params", {}))
    language = parameters.get("audio_language", "auto")
    try:
        heard = await emulation.ear.hear(
            audio, language=None if language == "auto" else language, prompt=parameters.get("prompt")
        )
    except (UnreadableAudio, AudioTooLong):
        raise Refused(400, "The audio could not be decoded") from None
    return _described(heard)


def _audio(given: object) -> bytes:
    if not isinstance(given, dict) or len(given) != 1 or not given.keys() <= {"url", "audio_b64"}:
        raise Refused(400, "audio must have either url or audio_b64")
    if "url" in given:
        raise Refused(400, "The audio could not be fetched")
    try:
        return base64.b64decode(given["audio_b64"], validate=True)
    except (ValueError, TypeError):
        raise Refused(400, "audio_b64 is no base64") from None


def _parameters(given: object) -> dict[str, str]:
    if not isinstance(given, dict) or not given.keys() <= _PARAMETERS:
        raise Refused(400, f"whisper_params may have {', '.join(sorted(_PARAMETERS))}")
    if not all(isinstance(value, str) for value in given.values()):
        raise Refused(400, "whisper_params must be text")
    if given.get("audio_language", "auto") not in {"auto", *NAMES}:
        raise Refused(400, "audio_language must be auto or a language's code")
    return given


def _described(heard: Transcript) -> dict[str, Any]:
    return {
        "language_code": heard.language,
        "language_prob": None,
        "segments": [
            {"text": each.text.strip(), "log_prob": -0.25, "start_time": each.start_s, "end_time": end_s(each, heard)}
            for each in heard.segments
        ],
    }
