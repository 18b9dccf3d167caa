"""Deepgram's recorded audio as its SDK sees it: raw bytes or an address, options in the query, errors with codes.

Source: deepgram-sdk 7.17.0, deepgram/deepgram-api-specs openapi.yml (2026-07-22). Left out: live audio, callbacks,
search, redaction and other add-ons, which are accepted and do nothing. An address is answered as one that cannot be
reached: an emulator opens no connection. Speakers are made up: two take turns.
"""

from __future__ import annotations

import hashlib
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from aiohttp import web

from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.emulators.door import Refused, guard, json_object
from providers.emulators.turns import Turn, turns

if TYPE_CHECKING:
    from multidict import MultiMapping

    from providers.emulators.ear import Emulation
    from providers.types import Transcript, Word

_MAX_BYTES = 100 * 1024 * 1024  # of 2 GB possible
_MODEL_ID: Final = "30089e05-99d1-4376-b32e-c263170674af"
_MODELS: Final = re.compile(r"(nova(-[23])?|enhanced|base)(-[a-z]+)?|whisper-(tiny|base|small|medium|large)")
_SWITCHES: Final = frozenset(
    """
    detect_language punctuate smart_format paragraphs utterances diarize multichannel filler_words numerals measurements
    dictation profanity_filter detect_entities sentiment topics intents mip_opt_out
    """.split()  # noqa: SIM905 - twenty quoted words would hide the table
)
_VALUES: Final = frozenset(
    """
    model language language_hint diarize_model utt_split keyterm keywords redact search replace encoding sample_rate
    callback callback_method custom_topic custom_topic_mode custom_intent custom_intent_mode summarize tag extra version
    """.split()  # noqa: SIM905 - as above
)


def build_app(emulation: Emulation) -> web.Application:
    """Return the service under `/v1`. A key comes after `Token`, a short-lived one after `Bearer`."""
    service = _Service(emulation)

    def let_in(request: web.Request) -> None:
        if request.headers.get("authorization") not in {f"Token {emulation.key}", f"Bearer {emulation.key}"}:
            raise Refused(401, "Invalid credentials.", code="INVALID_AUTH")

    app = web.Application(client_max_size=_MAX_BYTES, middlewares=[guard(let_in, _answer)])
    app.on_response_prepare.append(_number)
    app.router.add_post("/v1/listen", service.listen)
    app.router.add_get("/v1/projects", service.projects)
    return app


async def _number(_: web.Request, response: web.StreamResponse) -> None:
    """Give every answer a number, for the support desk."""
    response.headers.setdefault("dg-request-id", str(uuid4()))


def _answer(refused: Refused) -> web.Response:
    number = str(uuid4())
    code = refused.more.get("code", HTTPStatus(refused.status).phrase)
    body = {"err_code": code, "err_msg": refused.said, "request_id": number}
    return web.json_response(body, status=refused.status, headers={"dg-request-id": number})


class _Service:
    def __init__(self, emulation: Emulation) -> None:
        self._ear = emulation.ear

    async def projects(self, _: web.Request) -> web.Response:
        return web.json_response({"projects": [{"project_id": str(uuid4()), "name": "emulated"}]})

    async def listen(self, request: web.Request) -> web.Response:
        asked = request.query
        _check(asked)
        if request.content_type == "application/json":
            raise _unreachable(await json_object(request))
        audio = await request.read()
        detects = asked.get("detect_language", "false") != "false"
        try:
            heard = await self._ear.hear(audio, language=None if detects else asked.get("language", "en"))
        except (UnreadableAudio, AudioTooLong):
            raise Refused(400, "Bad Request: failed to process audio: corrupt or unsupported data") from None
        return web.json_response(_described(heard, audio, asked))


def _unreachable(body: dict[str, Any]) -> Refused:
    if not isinstance(body.get("url"), str):
        return Refused(400, "Invalid JSON submitted.", code="INVALID_JSON")
    return Refused(400, "The remote server hosting the media could not be reached.", code="REMOTE_CONTENT_ERROR")


def _check(asked: MultiMapping[str]) -> None:
    """Raise Refused for what the service would not take."""
    model = asked.get("model", "base-general")
    if not _MODELS.fullmatch(model):
        raise Refused(400, "Bad Request: No such model/version combination found.")
    for name, value in asked.items():
        if name not in _SWITCHES | _VALUES:
            raise _bad_query(f"unknown parameter {name}")
        if name in _SWITCHES - {"detect_language"} and value not in {"true", "false"}:
            raise _bad_query(f"{name} is no boolean")
    newest = model.startswith("nova-3")
    if newest and "keywords" in asked:
        raise _bad_query("keywords are not supported by this model: use keyterm")
    if not newest and "keyterm" in asked:
        raise _bad_query("keyterm is supported by Nova-3 only")
    if "detect_language" in asked and "language" in asked:
        raise _bad_query("language and detect_language exclude each other")


def _bad_query(said: str) -> Refused:
    return Refused(400, f"Bad Request: {said}", code="INVALID_QUERY_PARAMETER")


def _is_on(asked: MultiMapping[str], *names: str) -> bool:
    return any(asked.get(name) == "true" for name in names)


def _described(heard: Transcript, audio: bytes, asked: MultiMapping[str]) -> dict[str, Any]:
    diarizes = "diarize_model" in asked or _is_on(asked, "diarize")
    said = list(turns(heard, 2))
    alternative: dict[str, Any] = {
        "transcript": heard.text,
        "confidence": 0.99 if heard.text else 0.0,
        "words": [word for turn in said for word in _words(turn, asked, diarizes=diarizes)],
    }
    if _is_on(asked, "paragraphs"):
        alternative["paragraphs"] = {"transcript": f"\n{heard.text}", "paragraphs": []}
    if asked.get("language") == "multi":
        alternative["languages"] = [heard.language]
    channel: dict[str, Any] = {"alternatives": [alternative]}
    if asked.get("detect_language", "false") != "false":
        channel |= {"detected_language": heard.language, "language_confidence": 0.98}
    results: dict[str, Any] = {"channels": [channel]}
    if _is_on(asked, "utterances"):
        results["utterances"] = [_utterance(turn, asked, diarizes=diarizes) for turn in said]
    return {"metadata": _metadata(heard, audio, asked), "results": results}


def _metadata(heard: Transcript, audio: bytes, asked: MultiMapping[str]) -> dict[str, Any]:
    model = asked.get("model", "base-general")
    return {
        "transaction_key": "deprecated",
        "request_id": str(uuid4()),
        "sha256": hashlib.sha256(audio).hexdigest(),
        "created": "2026-11-01T10:00:00.000Z",
        "duration": heard.duration_s,
        "channels": 1,
        "models": [_MODEL_ID],
        "model_info": {_MODEL_ID: {"name": f"general-{model}", "version": "2025-04-17.21547", "arch": model}},
    }


def _utterance(turn: Turn, asked: MultiMapping[str], *, diarizes: bool) -> dict[str, Any]:
    return {
        "start": turn.start_s,
        "end": turn.end_s,
        "confidence": 0.99,
        "channel": 0,
        "transcript": turn.text,
        "words": _words(turn, asked, diarizes=diarizes),
        "id": str(uuid4()),
        **({"speaker": turn.speaker} if diarizes else {}),
    }


def _words(turn: Turn, asked: MultiMapping[str], *, diarizes: bool) -> list[dict[str, Any]]:
    speaker = {"speaker": turn.speaker, "speaker_confidence": 0.71} if diarizes else {}
    punctuates = _is_on(asked, "punctuate", "smart_format")
    return [{**_word(each), **({"punctuated_word": each.text} if punctuates else {}), **speaker} for each in turn.words]


def _word(each: Word) -> dict[str, Any]:
    plain = each.text.strip(".,?!").lower()
    return {"word": plain, "start": each.start_s, "end": each.end_s, "confidence": 0.99}
