"""Watson Speech to Text as its SDK sees it: raw bytes, options in the query, and IAM, which gives tokens for a key.

Source: ibm-watson 11.2.0, ibm-cloud-sdk-core 3.28.0, cloud.ibm.com/apidocs/speech-to-text (2026). The shapes of errors
are unconfirmed. Left out: jobs, WebSockets, custom models, keywords, metrics; other options are accepted and do
nothing. Speakers are made up: two take turns. `GET /emulator/state` tells how many tokens were given.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.emulators.door import STATE, Refused, guard
from providers.emulators.turns import turns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from multidict import MultiMapping

    from providers.emulators.ear import Emulation
    from providers.emulators.turns import Turn
    from providers.types import Transcript

OPTIONS: Final = {"region": "eu-de", "instance": "00000000-0000-4000-8000-000000000000"}
"""What an account at the emulator has."""
_MAX_BYTES = 100 * 1024 * 1024
_LASTS_S = 3600
_IAM: Final = "/identity/token"
_MODELS: Final = re.compile(r"[a-z]{2}-[A-Z]{2}(?:_(?:Multimedia|Telephony|BroadbandModel|NarrowbandModel))?")
_TYPES: Final = re.compile(r"audio/(?:wav|flac|mp3|mpeg|ogg|webm|l16|mulaw|alaw|basic|g729)\b|application/octet-stream")
_SWITCHES: Final = (
    *("timestamps", "word_confidence", "speaker_labels", "profanity_filter", "smart_formatting", "redaction"),
    *("low_latency", "split_transcript_at_phrase_end", "audio_metrics"),
)


def build_app(emulation: Emulation) -> web.Application:
    """Return the service of one instance, and IAM beside it."""
    service = _Service(emulation)

    def let_in(request: web.Request) -> None:
        if request.path != _IAM and request.headers.get("authorization") not in service.credentials:
            raise Refused(401, "Unauthorized")

    app = web.Application(client_max_size=_MAX_BYTES, middlewares=[guard(let_in, _answer)])
    app.on_response_prepare.append(_number)
    app.router.add_get(STATE, service.state)
    app.router.add_post(_IAM, service.give)
    app.router.add_post("/v1/recognize", service.recognize)
    return app


async def _number(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.setdefault("x-global-transaction-id", "3f3f6b52-emulated")


def _answer(refused: Refused) -> web.Response:
    if "iam" in refused.more:
        body = {"errorCode": refused.more["iam"], "errorMessage": refused.said, "context": {"requestId": "emulated"}}
    else:
        phrase = HTTPStatus(refused.status).phrase
        body = {"code": refused.status, "code_description": phrase, "error": refused.said}
    return web.json_response(body, status=refused.status)


class _Service:
    """What hears, and what gives tokens."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._given = 0
        self.credentials: set[str] = set()

    async def state(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"tokens": self._given})

    async def give(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        if form.get("grant_type") != "urn:ibm:params:oauth:grant-type:apikey":
            raise Refused(400, "Property missing or empty: grant_type", iam="BXNIM0109E")
        if form.get("apikey") != self._emulation.key:
            raise Refused(400, "Provided API key could not be found.", iam="BXNIM0415E")
        self._given += 1
        now_s = int(datetime.now(UTC).timestamp())
        token = _signed(
            {"iam_id": f"emulated-{self._given}", "iat": now_s, "exp": now_s + _LASTS_S}, self._emulation.key
        )
        self.credentials.add(f"Bearer {token}")
        times = {"expires_in": _LASTS_S, "expiration": now_s + _LASTS_S}
        return web.json_response(
            {"access_token": token, "refresh_token": "not_supported", "token_type": "Bearer", "scope": "ibm", **times}
        )

    async def recognize(self, request: web.Request) -> web.StreamResponse:
        asked = request.query
        model = _checked(asked, request.headers.get("content-type", "application/octet-stream"))
        try:
            heard = await self._emulation.ear.hear(await request.read(), language=model[:2])
        except (UnreadableAudio, AudioTooLong):
            raise Refused(400, "unable to transcode data stream application/octet-stream -> audio/l16") from None
        return web.json_response(_described(heard, asked))


def _signed(claims: Mapping[str, object], key: str) -> str:
    """Return a JSON Web Token: the SDK reads in it when it ends."""
    parts = [_encoded(json.dumps(each).encode()) for each in ({"alg": "HS256", "typ": "JWT"}, claims)]
    return ".".join((*parts, _encoded(hmac.digest(key.encode(), ".".join(parts).encode(), "sha256"))))


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _checked(asked: MultiMapping[str], kind: str) -> str:
    """Return the model. Raises Refused for what the service would not take."""
    model = asked.get("model", "en-US_BroadbandModel")
    if not _MODELS.fullmatch(model):
        raise Refused(404, f"Model {model} not found")
    if not _TYPES.match(kind):
        raise Refused(415, f"unsupported content type {kind}")
    for name in _SWITCHES:
        if asked.get(name, "false") not in {"true", "false"}:
            raise Refused(400, f"{name} is no boolean")
    if "low_latency" in asked and "_" not in model:
        raise Refused(400, f"low_latency is not supported by {model}")
    return model


def _described(heard: Transcript, asked: MultiMapping[str]) -> dict[str, Any]:
    said = list(turns(heard, 2)) if heard.text else []
    diarizes = asked.get("speaker_labels") == "true"
    timed = diarizes or asked.get("timestamps") == "true"
    sure = asked.get("word_confidence") == "true"
    told: dict[str, Any] = {"result_index": 0, "results": [_result(each, timed=timed, sure=sure) for each in said]}
    if diarizes:
        told["speaker_labels"] = [
            {"from": each.start_s, "to": each.end_s, "speaker": turn.speaker, "confidence": 0.6, "final": False}
            for turn in said
            for each in turn.words
        ]
    return told


def _result(turn: Turn, *, timed: bool, sure: bool) -> Mapping[str, Any]:
    """Return a stretch of speech; its text ends with a blank."""
    alternative: dict[str, Any] = {"transcript": f"{turn.text} ", "confidence": 0.96}
    if timed:
        alternative["timestamps"] = [[each.text, each.start_s, each.end_s] for each in turn.words]
    if sure:
        alternative["word_confidence"] = [[each.text, 0.9] for each in turn.words]
    return {"final": True, "alternatives": [alternative]}
