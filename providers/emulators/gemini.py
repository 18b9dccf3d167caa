"""Gemini as its clients see it: generateContent, Interactions with transcription, and files that are uploaded first.

Source: google-genai 3.6.1, ai.google.dev (2026). The wording of errors is unconfirmed. Under `/v1` and `/v1beta`, with
fields in either spelling. Left out: Live, rate limits, safety (nothing that is said is refused), and what is stored of
interactions. A general model obeys its instructions as far as they name the language, ask for English, or give names.
Speakers are made up: two take turns. `GET /emulator/state` tells which files are left.
"""

from __future__ import annotations

import base64
import binascii
import json
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from aiohttp import web

from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.emulators.door import STATE, Refused, guard, json_object
from providers.emulators.google_form import answer, in_snake_case, nested, offset
from providers.emulators.turns import turns
from providers.languages import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from providers.emulators.ear import Emulation
    from providers.types import Transcript

_MAX_INLINE_BYTES = 20_000_000
_MAX_BYTES = 100 * 1024 * 1024  # of 2 GB possible
_MAX_INPUT_TOKENS = 98_304
_TOKENS_PER_S = 32
_TRANSCRIBING: Final = "gemini-3.5-transcribe"
_GENERAL: Final = ("gemini-3.5-flash", "gemini-2.5-flash", "gemini-2.5-flash-lite")
_TYPES: Final = frozenset({f"audio/{each}" for each in ("wav", "mp3", "aiff", "aac", "ogg", "flac")})
_MORE_TYPES: Final = _TYPES | {f"audio/{each}" for each in ("mpeg", "m4a", "l16", "opus", "alaw", "mulaw", "webm")}


def base_urls(root: str) -> Mapping[str, str]:
    """Return where an account finds the service."""
    return {"api": f"{root}/v1beta", "upload": f"{root}/upload/v1beta"}


def build_app(emulation: Emulation) -> web.Application:
    """Return the service under `/v1` and `/v1beta`."""
    service = _Service(emulation)

    def let_in(request: web.Request) -> None:
        if "upload_id" in request.query:  # it was given to who had the key, and the SDK sends no key there
            return
        key = request.headers.get("x-goog-api-key") or request.query.get("key")
        if key is None:
            raise Refused(403, "Method doesn't allow unregistered callers (callers without established identity).")
        if key != emulation.key:
            raise Refused(400, "API key not valid. Please pass a valid API key.", reason="API_KEY_INVALID")

    app = web.Application(client_max_size=_MAX_BYTES, middlewares=[guard(let_in, answer)])
    app.router.add_get(STATE, service.state)
    for version in ("v1", "v1beta"):
        app.router.add_get(f"/{version}/models", service.models)
        app.router.add_post(f"/{version}/models/{{model:[^:/]+}}:generateContent", service.generate)
        app.router.add_post(f"/{version}/models/{{model:[^:/]+}}:streamGenerateContent", service.stream)
        app.router.add_post(f"/{version}/interactions", service.interact)
        app.router.add_post(f"/upload/{version}/files", service.upload)
        app.router.add_get(f"/{version}/files/{{name}}", service.file)
        app.router.add_delete(f"/{version}/files/{{name}}", service.delete)
    return app


class _Service:
    """Files, and models that hear them."""

    def __init__(self, emulation: Emulation) -> None:
        self._ear = emulation.ear
        self._begun: dict[str, str] = {}  # media types by upload
        self._files: dict[str, tuple[str, bytes]] = {}  # media type and content
        self._polled: set[str] = set()
        self._numbers = count(1)

    async def state(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"files": sorted(self._files)})

    async def models(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"models": [{"name": f"models/{each}"} for each in (*_GENERAL, _TRANSCRIBING)]})

    # --- files

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """Begin an upload, or take all of it: which, a header says."""
        command = request.headers.get("x-goog-upload-command", "")
        if command == "start":
            identity = uuid4().hex
            self._begun[identity] = request.headers.get("x-goog-upload-header-content-type", "")
            url = request.url.with_query(upload_id=identity)
            return web.json_response({}, headers={"x-goog-upload-url": str(url), "x-goog-upload-status": "active"})
        media_type = self._begun.pop(request.query.get("upload_id", ""), None)
        if media_type is None or "finalize" not in command:
            raise Refused(400, "Upload has not been started, or is not finalized.")
        name = f"f{next(self._numbers)}"
        self._files[name] = media_type, await request.read()
        file = self._described(request, name, "PROCESSING")
        return web.json_response({"file": file}, headers={"x-goog-upload-status": "final"})

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Tell a file's state: it is read when somebody asks for the second time."""
        name = self._known(request)
        state = "ACTIVE" if name in self._polled else "PROCESSING"
        self._polled.add(name)
        return web.json_response(self._described(request, name, state))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        del self._files[self._known(request)]
        return web.json_response({})

    def _known(self, request: web.Request) -> str:
        name = request.match_info["name"]
        if name not in self._files:
            raise Refused(403, "You do not have permission to access the File, or it may not exist.")
        return name

    def _described(self, request: web.Request, name: str, state: str) -> dict[str, str]:
        media_type, content = self._files[name]
        return {
            "name": f"files/{name}",
            "uri": str(request.url.with_path(f"/v1beta/files/{name}").with_query(None)),
            "mimeType": media_type,
            "sizeBytes": str(len(content)),
            "state": state,
        }

    # --- what is heard

    async def generate(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._generated(request))

    async def stream(self, request: web.Request) -> web.StreamResponse:
        whole = await self._generated(request)
        return web.Response(text=f"data: {json.dumps(whole)}\r\n\r\n", content_type="text/event-stream")

    async def _generated(self, request: web.Request) -> dict[str, Any]:
        model = request.match_info["model"]
        if model not in _GENERAL:
            raise Refused(404, f"models/{model} is not found for API version v1beta, or is not supported.")
        asked = in_snake_case(await json_object(request))
        parts = [part for content in asked.get("contents") or () for part in content.get("parts") or ()]
        sounds = [part for part in parts if "inline_data" in part or "file_data" in part]
        if len(sounds) != 1:
            raise Refused(400, "The request must hold one audio part.")
        told = _texts([*parts, *nested(asked, "system_instruction").get("parts", [])])
        heard = await self._heard(
            _audio_of(sounds[0], self._files), told["language"], told["prompt"], translate=bool(told["english"])
        )
        return _generation(heard, nested(asked, "generation_config"), model)

    async def interact(self, request: web.Request) -> web.StreamResponse:
        asked = await json_object(request)
        if asked.get("model") != _TRANSCRIBING:
            raise Refused(404, "Model not found.")
        config = nested(asked, "generation_config", "transcription_config")
        codes = config.get("language_codes") or [None]
        sound = _sound(asked.get("input"))
        audio = _audio_of({"inline_data": sound, "file_data": {**sound, "file_uri": sound.get("uri")}}, self._files)
        heard = await self._heard(audio, codes[0], ", ".join(config.get("custom_vocabulary") or ()) or None)
        if _tokens(heard) > _MAX_INPUT_TOKENS:
            raise Refused(
                400, f"The input token count exceeds the maximum number of tokens allowed {_MAX_INPUT_TOKENS}."
            )
        return web.json_response(_interaction(heard, _mode(config)))

    async def _heard(
        self, audio: bytes, language: str | None, prompt: str | None, *, translate: bool = False
    ) -> Transcript:
        try:
            primary = language.split("-")[0] if language else None
            return await self._ear.hear(audio, language=primary, prompt=prompt, translate=translate)
        except (UnreadableAudio, AudioTooLong):
            raise Refused(400, "Request contains an invalid argument: the audio cannot be read.") from None


def _audio_of(part: Mapping[str, Any], files: Mapping[str, tuple[str, bytes]]) -> bytes:
    """Return the sound of a part: inline, or of a file. Raises Refused."""
    inline = nested(part, "inline_data")
    media_type = str(inline.get("mime_type") or nested(part, "file_data").get("mime_type"))
    if media_type not in _MORE_TYPES:
        raise Refused(400, f"Unsupported MIME type: {media_type}")
    if data := inline.get("data"):
        if len(data) > _MAX_INLINE_BYTES:
            raise Refused(400, f"Request payload size exceeds the limit: {_MAX_INLINE_BYTES} bytes.")
        try:
            return base64.b64decode(data.replace("-", "+").replace("_", "/"))
        except (binascii.Error, AttributeError):
            raise Refused(400, "Invalid value at 'data' (TYPE_BYTES), Base64 decoding failed") from None
    name = str(nested(part, "file_data").get("file_uri")).rpartition("/")[2]
    if name not in files:
        raise Refused(403, "You do not have permission to access the File, or it may not exist.")
    return files[name][1]


def _texts(parts: list[dict[str, Any]]) -> dict[str, str | None]:
    """Return what the instructions say, as far as this understands them."""
    lines = [line for part in parts for line in str(part.get("text") or "").splitlines()]
    whole = " ".join(lines).lower()
    language = next((code for code, name in NAMES.items() if f"spoken is {name}." in whole), None)
    prompt = next((line.partition(": ")[2] for line in lines if line.startswith("What may help")), None)
    return {"language": language, "prompt": prompt, "english": "yes" if "into english" in whole else None}


def _sound(given: Any) -> dict[str, Any]:  # noqa: ANN401 - as it came
    """Return the one audio input, flat or within what the user says. Raises Refused."""
    flat = [each for item in given or () for each in (item.get("content") or [item] if isinstance(item, dict) else ())]
    sounds = [each for each in flat if isinstance(each, dict) and each.get("type") == "audio"]
    if len(sounds) != 1:
        raise Refused(400, "The input must hold one audio.")
    return sounds[0]


def _mode(config: Mapping[str, Any]) -> dict[str, Any]:
    mode = config.get("mode") or "verbatim"
    mode = {"type": mode} if isinstance(mode, str) else mode
    if mode.get("type") not in {"verbatim", "smart"}:
        raise Refused(400, "Unknown transcription mode.")
    if mode["type"] == "smart" and (mode.get("timestamp_granularities") or mode.get("diarization_mode")):
        raise Refused(400, "Timestamps and diarization are incompatible with mode smart.")
    return dict(mode)


# --- what is answered


def _tokens(heard: Transcript) -> int:
    return round(_TOKENS_PER_S * (heard.duration_s or 0.0))


def _generation(heard: Transcript, config: Mapping[str, Any], model: str) -> dict[str, Any]:
    said = heard.text.split(" ")
    most = config.get("max_output_tokens") or len(said)
    return {
        "candidates": [
            {
                "content": {"parts": [{"text": " ".join(said[:most])}], "role": "model"},
                "finishReason": "MAX_TOKENS" if most < len(said) else "STOP",
                "index": 0,
            }
        ],
        "usageMetadata": {
            "promptTokenCount": _tokens(heard),
            "candidatesTokenCount": min(most, len(said)),
            "totalTokenCount": _tokens(heard) + min(most, len(said)),
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": _tokens(heard)}],
        },
        "modelVersion": model,
        "responseId": uuid4().hex,
    }


def _interaction(heard: Transcript, mode: Mapping[str, Any]) -> dict[str, Any]:
    annotations = list(_word_infos(heard, mode))
    content = {"type": "text", "text": heard.text, **({"annotations": annotations} if annotations else {})}
    return {
        "id": f"v1_{uuid4().hex}",
        "object": "interaction",
        "model": _TRANSCRIBING,
        "status": "completed",
        "created": "2026-11-05T10:00:00Z",
        "updated": "2026-11-05T10:00:01Z",
        "steps": [{"type": "model_output", "content": [content]}] if heard.text else [],
        "usage": {
            "total_tokens": _tokens(heard) + len(heard.words),
            "total_input_tokens": _tokens(heard),
            "total_output_tokens": len(heard.words),
            "input_tokens_by_modality": [{"modality": "audio", "tokens": _tokens(heard)}],
        },
    }


def _word_infos(heard: Transcript, mode: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the words with what was asked for of them; nothing where nothing was."""
    timed, told = "word" in (mode.get("timestamp_granularities") or ()), mode.get("diarization_mode") == "speaker"
    at = 0
    for turn in turns(heard, 2):
        for each in turn.words if timed or told else ():
            at = max(at, heard.text.find(each.text, at))
            start = len(heard.text[:at].encode())
            info = {"type": "word_info", "text": each.text, "start_index": start}
            info["end_index"] = start + len(each.text.encode())
            if told:
                info["speaker"] = f"spk_{turn.speaker + 1}"
            if timed:
                info |= {"start_offset": offset(each.start_s), "end_offset": offset(each.end_s)}
            yield info
            at += len(each.text)
