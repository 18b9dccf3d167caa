"""xAI's speech-to-text as its clients see it: a form with the audio last, words and no sentences.

Source: docs.x.ai's pages on speech to text, @ai-sdk/xai 5.0.12, litellm 1.109.1 `llms/xai` (2026-11). xAI's own SDK
has none of it. Left out: several channels. An address is answered with a refusal: an emulator opens no connection.
Speakers are made up: two take turns. The wording of errors is unconfirmed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.emulators.door import Refused, guard
from providers.emulators.openai_form import Form, read_form
from providers.emulators.turns import turns
from providers.languages import name_of

if TYPE_CHECKING:
    from providers.emulators.ear import Emulation
    from providers.types import Transcript

_MAX_BYTES = 100 * 1024 * 1024  # of 500 MB possible
_MODELS: Final = ("grok-voice-transcribe-2.0",)
_SWITCHES: Final = ("format", "diarize", "filler_words", "multichannel")
_RATES_HZ: Final = {"8000", "16000", "22050", "24000", "44100", "48000"}


def build_app(emulation: Emulation) -> web.Application:
    """Return the service under `/v1` and without it: an account's address ends in it."""

    def let_in(request: web.Request) -> None:
        if request.headers.get("authorization") != f"Bearer {emulation.key}":
            raise Refused(401, "Incorrect API key provided", code="unauthenticated")

    async def transcribe(request: web.Request) -> web.Response:
        form = await _read(request)
        try:
            heard = await emulation.ear.hear(form.audio or b"")
        except (UnreadableAudio, AudioTooLong):
            raise Refused(400, "The audio could not be decoded") from None
        return web.json_response(_described(heard, diarizes=form.is_true("diarize")))

    app = web.Application(client_max_size=_MAX_BYTES, middlewares=[guard(let_in, _answer)])
    for root in ("", "/v1"):
        app.router.add_post(f"{root}/stt", transcribe)
    return app


def _answer(refused: Refused) -> web.Response:
    return web.json_response({**refused.more, "error": refused.said}, status=refused.status)


async def _read(request: web.Request) -> Form:
    """Return the form. Raises Refused for what the service would not take."""
    try:
        form = await read_form(request)
    except ValueError as error:
        raise Refused(400, str(error)) from None
    if form.one("model", _MODELS[0]) not in _MODELS:
        raise Refused(404, "The model does not exist", code="not_found")
    if form.one("url"):
        raise Refused(400, "The audio could not be fetched")
    if form.audio is None:
        raise Refused(422, "file or url is required")
    if list(await request.post())[-1] != "file":
        raise Refused(400, "file must be the last part")
    _check(form)
    return form


def _check(form: Form) -> None:
    for name in _SWITCHES:
        if form.one(name, "false") not in {"true", "false"}:
            raise Refused(422, f"{name} must be true or false")
    if form.is_true("format") and not form.one("language"):
        raise Refused(400, "format needs language")
    if form.one("sample_rate") and form.one("sample_rate") not in _RATES_HZ:
        raise Refused(422, "sample_rate is not supported")


def _described(heard: Transcript, *, diarizes: bool) -> dict[str, Any]:
    return {
        "text": heard.text,
        "language": name_of(heard.language or "").title(),
        "duration": heard.duration_s,
        "words": [
            {
                "text": each.text,
                "start": each.start_s,
                "end": each.end_s,
                **({"speaker": turn.speaker} if diarizes else {}),
            }
            for turn in turns(heard, 2)
            for each in turn.words
        ],
    }
