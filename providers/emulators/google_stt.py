"""Cloud Speech-to-Text as its clients see it: version 2 over REST, a bucket, and where tokens are given.

Source: google-cloud-speech 2.41.0 over REST, google-auth 2.63.0, cloud.google.com/speech-to-text/docs (2026). The
wording of errors is unconfirmed. Left out: stored recognizers (each is taken for `_`), streaming, version 1, headerless
audio, and the signature of a token's request, for which nobody here has the key. Speakers are made up: they take turns.
`GET /emulator/state` tells how many tokens were given, what became of operations, and which objects are left.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.emulators.door import STATE, Refused, guard, json_object
from providers.emulators.google_batch import Bucket, Operations
from providers.emulators.google_form import answer, in_snake_case, nested, offset
from providers.emulators.turns import turns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.emulators.ear import Emulation
    from providers.emulators.turns import Turn
    from providers.types import Transcript, Word

_MAX_BYTES = 10 * 1024 * 1024
_MAX_UPLOAD_BYTES = 100 * 1024 * 1024
_MAX_S = 60.0
_MODELS: Final = frozenset({"chirp_3", "chirp_2", "long", "short", "telephony"})
_DETECT: Final = frozenset({"chirp_3", "chirp_2"})
_PLACES: Final = {"chirp_3": {"us", "eu"}}
_LASTS_S = 3600
_GRANTS: Final = {
    "urn:ietf:params:oauth:grant-type:jwt-bearer": "assertion",
    "urn:ietf:params:oauth:grant-type:token-exchange": "subject_token",
}
_REFUSED_SUBJECT = "refused"


def base_urls(root: str) -> Mapping[str, str]:
    """Return where an account finds the service."""
    return {"api": f"{root}/v2/projects/emulated/locations/eu", "storage": root}


def build_app(emulation: Emulation) -> web.Application:
    """Return the service, and both places that give tokens: `/token` for keys, `/v1/token` for workloads."""
    service = _Service(emulation)

    def let_in(request: web.Request) -> None:
        if request.path.endswith("/token"):
            return
        if request.headers.get("authorization") != f"Bearer {emulation.key}":
            said = "Request had invalid authentication credentials. Expected OAuth 2 access token."
            raise Refused(401, said, reason="ACCESS_TOKEN_TYPE_UNSUPPORTED")

    app = web.Application(client_max_size=_MAX_UPLOAD_BYTES, middlewares=[guard(let_in, answer)])
    app.router.add_get(STATE, service.state)
    app.router.add_post("/token", service.give)
    app.router.add_post("/v1/token", service.give)
    path = "/v2/{place:projects/[^/]+/locations/[^/]+}/recognizers/{recognizer:[^:/]+}"
    app.router.add_post(f"{path}:recognize", service.recognize)
    app.router.add_post(f"{path}:batchRecognize", service.batch_recognize)
    service.bucket.add_to(app)
    service.operations.add_to(app)
    return app


class _Service:
    """What hears, and what gives tokens."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._given = 0
        self.bucket = Bucket()
        self.operations = Operations(emulation, self.bucket, _answer)

    async def state(self, _: web.Request) -> web.StreamResponse:
        told = {"tokens": self._given, **self.operations.state(), "files": sorted(self.bucket.objects)}
        return web.json_response(told)

    async def give(self, request: web.Request) -> web.StreamResponse:
        """Give the one token there is, to whoever asks in the right form."""
        form = await request.post()
        grant = _GRANTS.get(str(form.get("grant_type")))
        subject = str(form.get(grant, "")) if grant else ""
        if not subject or subject == _REFUSED_SUBJECT or (grant == "assertion" and not _is_sound(subject)):
            error = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
            return web.json_response(error, status=400)
        self._given += 1
        answered = {"access_token": self._emulation.key, "expires_in": _LASTS_S, "token_type": "Bearer"}
        if grant == "subject_token":
            answered["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a kind
        return web.json_response(answered)

    async def recognize(self, request: web.Request) -> web.StreamResponse:
        asked = in_snake_case(await json_object(request))
        config = nested(asked, "config")
        how = _how(config, request)
        audio = _audio(asked.get("content"))
        try:
            heard = await self._emulation.ear.hear(audio, **how)
        except AudioTooLong:
            raise _TOO_LONG from None
        except UnreadableAudio:
            raise Refused(400, "Audio encoding could not be detected from the audio content.") from None
        if (heard.duration_s or 0.0) > _MAX_S:
            raise _TOO_LONG
        return web.json_response(_answer(heard, config))

    async def batch_recognize(self, request: web.Request) -> web.StreamResponse:
        asked = in_snake_case(await json_object(request))
        how = _how(nested(asked, "config"), request)
        return await self.operations.begin(asked, request.match_info["place"], **how)


def _how(config: Mapping[str, Any], request: web.Request) -> dict[str, Any]:
    """Return how the ear is to hear. Raises Refused."""
    codes = _checked(config, request.match_info["place"].rpartition("/")[2])
    return {
        "language": None if codes[0] == "auto" else _primary(codes[0]),
        "prompt": ", ".join(_phrases(config)) or None,
        "translate": "translation_config" in config,
    }


_TOO_LONG: Final = Refused(400, "Audio duration exceeds 1 minute. Use batchRecognize for longer audio.")


def _is_sound(assertion: str) -> bool:
    """Whether it is a JWT with what a service account must say, good for an hour at most."""
    try:
        payload = assertion.split(".")[1]
        said = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return bool(said["iss"] and said["scope"] and said["aud"]) and 0 < said["exp"] - said["iat"] <= _LASTS_S
    except (IndexError, ValueError, KeyError, TypeError):
        return False


def _primary(code: str) -> str:
    own = {"cmn": "zh", "iw": "he", "fil": "tl", "jv": "jw"}
    primary = code.split("-", maxsplit=1)[0].lower()
    return own.get(primary, primary)


def _checked(config: Mapping[str, Any], location: str) -> list[str]:
    """Return the languages. Raises Refused."""
    model = config.get("model")
    if model not in _MODELS or location not in _PLACES.get(str(model), {location}):
        raise Refused(400, f'The model "{model}" does not exist in the location named "{location}".')
    if "auto_decoding_config" not in config and "explicit_decoding_config" not in config:
        raise Refused(400, "Decoding config is required.")
    codes = config.get("language_codes")
    if not isinstance(codes, list) or not codes or (codes == ["auto"] and model not in _DETECT):
        raise Refused(400, "Invalid language codes.")
    if any(code != "auto" and "-" not in code for code in codes):
        raise Refused(400, f'The language "{codes[0]}" is not supported by the model "{model}".')
    if "translation_config" in config and model != "chirp_2":
        raise Refused(400, f'Translation is not supported by the model "{model}".')
    return codes


def _audio(content: object) -> bytes:
    """Return the audio of either base64. Raises Refused."""
    if not isinstance(content, str):
        raise Refused(400, "Audio source must be set.")
    if len(content) > _MAX_BYTES:
        raise Refused(400, f"Request payload size exceeds the limit: {_MAX_BYTES} bytes.")
    try:
        return base64.b64decode(content.replace("-", "+").replace("_", "/"))
    except binascii.Error:
        raise Refused(400, "Invalid value at 'content' (TYPE_BYTES), Base64 decoding failed") from None


def _phrases(config: Mapping[str, Any]) -> list[str]:
    sets = nested(config, "adaptation").get("phrase_sets") or []
    return [each["value"] for one in sets for each in nested(one, "inline_phrase_set").get("phrases") or ()]


# --- what is answered


def _answer(heard: Transcript, config: Mapping[str, Any]) -> dict[str, Any]:
    features = nested(config, "features")
    speakers = nested(features, "diarization_config").get("max_speaker_count")
    results = [_result(each, features, heard, bool(speakers)) for each in turns(heard, min(2, speakers or 1))]
    billed = {"totalBilledDuration": f"{round(heard.duration_s or 0.0 + 0.5)}s", "requestId": "671f0c5c-0000-2aaa-8bbb"}
    return {**({"results": results} if heard.text else {}), "metadata": billed}


def _result(turn: Turn, features: Mapping[str, Any], heard: Transcript, told: bool) -> dict[str, Any]:  # noqa: FBT001
    said: dict[str, Any] = {"transcript": f" {turn.text}", "confidence": 0.95}
    if features.get("enable_word_time_offsets"):
        said["words"] = [_word(each, features, str(turn.speaker + 1) if told else None) for each in turn.words]
    code = f"{heard.language or 'en'}-us"
    return {"alternatives": [said], "resultEndOffset": offset(turn.end_s), "languageCode": code}


def _word(each: Word, features: Mapping[str, Any], speaker: str | None) -> dict[str, Any]:
    """Return a word; what is zero is left out."""
    given: dict[str, Any] = {"word": each.text}
    if each.start_s:
        given["startOffset"] = offset(each.start_s)
    if each.end_s:
        given["endOffset"] = offset(each.end_s)
    if features.get("enable_word_confidence"):
        given["confidence"] = 0.9
    if speaker:
        given["speakerLabel"] = speaker
    return given
