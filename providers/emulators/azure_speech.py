"""Azure's fast transcription as its clients see it: a definition beside the audio, milliseconds, two kinds of errors.

Source: azure-ai-transcription 1.0.0, MicrosoftDocs/azure-ai-docs fast-transcription-create (2024-11). The codes inside
its own errors are unconfirmed. An address is answered with a refusal: an emulator opens no connection. Speakers take
turns. The only word it finds rude is "slushy".
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from aiohttp import web

from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.emulators.door import Refused, guard
from providers.emulators.turns import turns
from providers.languages import code_of
from providers.locales import locale_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.emulators.ear import Emulation
    from providers.types import Transcript

_MAX_BYTES = 200 * 1024 * 1024
_MODES: Final = ("None", "Masked", "Removed", "Tags")
_LOCALE: Final = re.compile(r"[a-z]{2,3}-[A-Za-z0-9-]{2,12}")
_RUDE: Final = re.compile(r"\bslushy\b", re.IGNORECASE)
_DENIED = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an"
    " active subscription and use a correct regional API endpoint for your resource."
)
_LIMITED = "Requests have exceeded call rate limit of your current S0 pricing tier. Please retry after 1 second."


def build_app(emulation: Emulation) -> web.Application:
    """Return the resource. The key with `-limited` behind it is over its rate."""

    def let_in(request: web.Request) -> None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        key = request.headers.get("ocp-apim-subscription-key", token)
        if key == f"{emulation.key}-limited":
            raise Refused(429, _LIMITED)
        if key != emulation.key:
            raise Refused(401, _DENIED)
        if not request.query.get("api-version"):
            raise Refused(404, "Resource not found")

    async def transcribe(request: web.Request) -> web.Response:
        audio, definition = await _read(request)
        _check(definition)
        mode = definition.get("enhancedMode") or {}
        locales = definition.get("locales") or []
        try:
            heard = await emulation.ear.hear(
                audio,
                language=code_of(locales[0]) if len(locales) == 1 else None,
                translate=mode.get("task") == "translate",
                prompt=" ".join(mode.get("prompt") or []) or None,
            )
        except UnreadableAudio:
            raise _invalid("InvalidAudioFormat", "The audio file could not be decoded.") from None
        except AudioTooLong:
            raise _invalid("AudioLengthLimitExceeded", "The audio file is too long.") from None
        return web.json_response(_described(heard, definition))

    app = web.Application(client_max_size=_MAX_BYTES, middlewares=[guard(let_in, _answer)])
    app.on_response_prepare.append(_number)
    app.router.add_post("/speechtotext/transcriptions:transcribe", transcribe)
    return app


async def _number(_: web.Request, response: web.StreamResponse) -> None:
    """Give every answer a number, for the support desk."""
    response.headers["apim-request-id"] = str(uuid4())


def _answer(refused: Refused) -> web.Response:
    """Write the gateway's errors, or those of the service behind it. Only a 429 says when to come back."""
    if "inner" in refused.more:
        inner = {"code": refused.more["inner"], "message": refused.said}
        told: object = {"code": "InvalidArgument", "message": refused.said, "innerError": inner}
    else:
        told = {"error": {"code": str(refused.status), "message": refused.said}}
    limited = {"retry-after": "1"} if refused.status == 429 else {}
    return web.json_response(told, status=refused.status, headers=limited)


def _invalid(code: str, said: str) -> Refused:
    return Refused(400, said, inner=code)


# --- what is read


async def _read(request: web.Request) -> tuple[bytes, dict[str, Any]]:
    """Return audio and definition, in whichever order they came."""
    if request.content_type != "multipart/form-data":
        raise Refused(415, "Unsupported media type")
    form = await request.post()
    audio, text = form.get("audio"), form.get("definition")
    try:
        definition = json.loads(text.file.read() if isinstance(text, web.FileField) else str(text))
    except ValueError:
        definition = None
    if not isinstance(definition, dict):
        raise _invalid("InvalidRequest", "The definition part is missing, or no JSON object.")
    if definition.get("audioUrl"):
        raise _invalid("InvalidAudioUrl", "The audio could not be fetched.")
    if not isinstance(audio, web.FileField):
        raise _invalid("EmptyAudioFile", "Neither audio nor audioUrl is given.")
    return audio.file.read(), definition


def _check(definition: Mapping[str, Any]) -> None:
    """Raise Refused for what the service would not take."""
    if not all(_LOCALE.fullmatch(each) for each in definition.get("locales") or ()):
        raise _invalid("InvalidLocale", "A locale is not supported.")
    if definition.get("profanityFilterMode", "Masked") not in _MODES:
        raise _invalid("InvalidProfanityFilterMode", "profanityFilterMode is not supported.")
    speakers = (definition.get("diarization") or {}).get("maxSpeakers", 2)
    if not 2 <= speakers <= 35:
        raise _invalid("InvalidDiarization", "maxSpeakers must be between 2 and 35.")
    if definition.get("diarization") and definition.get("channels"):
        raise _invalid("InvalidChannels", "channels and diarization exclude each other.")
    mode = definition.get("enhancedMode") or {}
    if mode.get("task", "transcribe") not in {"transcribe", "translate"}:
        raise _invalid("InvalidTask", "The task is not supported.")
    if mode.get("task") == "translate" and not mode.get("targetLanguage"):
        raise _invalid("InvalidTargetLanguage", "targetLanguage is missing.")


# --- what is answered


def _described(heard: Transcript, definition: Mapping[str, Any]) -> dict[str, Any]:
    mode = definition.get("profanityFilterMode", "Masked")
    diarization = definition.get("diarization") or {}
    diarizes = bool(diarization) and diarization.get("enabled", True)
    locales = definition.get("locales") or []
    locale = locales[0] if len(locales) == 1 else locale_of(heard.language or "en")
    text = _masked(heard.text, mode)
    return {
        "durationMilliseconds": _ms(heard.duration_s or 0.0),
        "combinedPhrases": [{"text": text}] if text else [],
        "phrases": [
            {
                **({"speaker": turn.speaker + 1} if diarizes else {}),
                **_span(_masked(turn.text, mode), turn.start_s, turn.end_s),
                "words": [_span(_masked(each.text, mode), each.start_s, each.end_s) for each in turn.words],
                "locale": locale,
                "confidence": 0 if definition.get("enhancedMode") else 0.95,
            }
            for turn in turns(heard, 2)
        ],
    }


def _span(text: str, start_s: float, end_s: float) -> dict[str, Any]:
    return {"offsetMilliseconds": _ms(start_s), "durationMilliseconds": _ms(end_s - start_s), "text": text}


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _masked(text: str, mode: str) -> str:
    """Return the text as a mode leaves it; tags are left out."""
    return text if mode in {"None", "Tags"} else _RUDE.sub("" if mode == "Removed" else "******", text)
