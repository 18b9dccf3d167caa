"""What emulators of services that took OpenAI's form over do alike: let in, read fields, hear, refuse.

The key with `-limited` behind it is always over its rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import uuid4

from aiohttp import web

from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.emulators import openai_form

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from providers.emulators.ear import Ear
    from providers.emulators.openai_form import Form
    from providers.types import Transcript

    Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

_FORM_BYTES: Final = 64 * 1024
LIMITED: Final = {"retry-after": "2"}
"""What a refusal for the rate says besides."""


class Refused(Exception):
    """A request that ends in an error reply."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param


def openai_envelope(refused: Refused) -> object:
    """Return an error's body as OpenAI writes it."""
    kind = "server_error" if refused.status >= 500 else "invalid_request_error"
    told = {"message": refused.message, "type": kind, "param": refused.param, "code": refused.code}
    return {"error": told}


def application(
    routes: Mapping[str, Answer],
    key: str,
    *,
    max_bytes: int,
    envelope: Callable[[Refused], object] = openai_envelope,
    headers: Mapping[str, str] | None = None,
    credential: str = "authorization",
) -> web.Application:
    """Return a service that asks for the key first, and gives replies their headers and refusals their form.

    routes: of POST. credential: the headers that may hold the key, separated by spaces.
    """

    @web.middleware
    async def guard(request: web.Request, handler: Answer) -> web.StreamResponse:
        try:
            _let_in(request, key, credential.split())
            response = await handler(request)
        except Refused as refused:
            limited = LIMITED if refused.status == 429 else None
            response = web.json_response(envelope(refused), status=refused.status, headers=limited)
        except web.HTTPException as error:
            response = web.json_response(envelope(Refused(error.status, error.reason)), status=error.status)
        if not response.prepared:  # a stream's are on their way
            response.headers.update(headers or {})
            response.headers.setdefault("x-request-id", uuid4().hex)
        return response

    app = web.Application(client_max_size=max_bytes + _FORM_BYTES, middlewares=[guard])
    for path, answer in routes.items():
        app.router.add_post(path, answer)
    return app


def _let_in(request: web.Request, key: str, names: list[str]) -> None:
    given = {request.headers.get(name, "").removeprefix("Bearer ") for name in names}
    if f"{key}-limited" in given:
        raise Refused(429, "Rate limit reached", code="rate_limit_exceeded")
    if key not in given:
        raise Refused(401, "Invalid API key provided", code="invalid_api_key")


# --- what is read


async def read(request: web.Request, *, max_bytes: int) -> Form:
    """Return the form. Raises Refused where there is none, or its file is too large."""
    if request.content_type != "multipart/form-data":
        raise Refused(415, "Content-Type must be multipart/form-data")
    try:
        form = await openai_form.read_form(request)
    except ValueError:
        raise Refused(400, "The form could not be read") from None
    if form.audio is not None and len(form.audio) > max_bytes:
        raise Refused(413, f"The upload is larger than {max_bytes} bytes", code="request_too_large", param="file")
    return form


def file_of(form: Form, *, or_url: str | None = "file") -> bytes:
    """Return the upload. or_url: the field that may name an address instead; an emulator opens no connection."""
    if form.audio is not None:
        return form.audio
    if or_url and form.one(or_url).startswith(("http://", "https://")):
        raise Refused(400, "Failed to fetch the audio from the URL", param=or_url)
    raise Refused(400, "file must be an upload or an HTTP(S) URL" if or_url else "file is required", param="file")


def model_of(form: Form, models: Mapping[str, object] | tuple[str, ...], default: str | None = None) -> str:
    """Return the model asked for. Raises Refused where it is none of those."""
    model = form.one("model") or default
    if model is None:
        raise Refused(400, "model is required", param="model")
    if model not in models:
        raise Refused(404, f"The model `{model}` does not exist", code="model_not_found", param="model")
    return model


def one_of(form: Form, name: str, *allowed: str) -> str:
    """Return the value, or the first of those allowed where there is none."""
    value = form.one(name) or allowed[0]
    if value not in allowed:
        raise Refused(400, f"{name} must be one of {', '.join(allowed)}", param=name)
    return value


def number(form: Form, name: str, kind: type[int | float], least: float, most: float) -> float | None:
    """Return a number in its range, or None where it is not given."""
    if name not in form.fields:
        return None
    try:
        value = kind(form.one(name))
    except ValueError:
        value = None
    if value is None or not least <= value <= most:
        raise Refused(400, f"{name} must be between {least} and {most}", param=name)
    return value


def levels(form: Form) -> frozenset[str]:
    """Return the granularities asked for, segments where none is."""
    name = "timestamp_granularities"
    asked = frozenset(form.fields.get(name, ()))
    if not asked <= {"segment", "word"}:
        raise Refused(400, f"{name} must be segment or word", param=name)
    return asked or frozenset({"segment"})


def only_with(form: Form, names: tuple[str, ...], wanted: str) -> None:
    """Refuse fields that need another response format than the one asked for."""
    for name in names:
        if name in form.fields and form.one("response_format") != wanted:
            raise Refused(400, f"{name} needs response_format={wanted}", param=name)


# --- what is heard


async def hear(
    ear: Ear,
    audio: bytes,
    *,
    language: str | None = None,
    translate: bool = False,
    prompt: str | None = None,
    max_s: float = float("inf"),
) -> Transcript:
    """Hear the upload. Raises Refused where it is no audio, or longer than max_s."""
    too_long = Refused(400, f"The audio is longer than {max_s:g} seconds", code="audio_too_long", param="file")
    try:
        heard = await ear.hear(audio, language=language, translate=translate, prompt=prompt)
    except UnreadableAudio as error:
        raise Refused(400, f"The audio could not be decoded: {error}", param="file") from None
    except AudioTooLong:
        raise too_long from None
    if (heard.duration_s or 0.0) > max_s:
        raise too_long
    return heard
