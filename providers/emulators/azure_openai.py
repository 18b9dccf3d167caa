"""Azure OpenAI as its clients see it: OpenAI's answers, two kinds of routes, deployments, errors of its own shape.

Of every model there are two deployments: of its own name, and called `my-` and the model. The key with `-limited`
behind it is over its rate.

Source: openai 3.54.0 (`lib/azure.py`), learn.microsoft.com quotas and the v1 preview reference (2026-11), litellm 4595.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from aiohttp import web

from providers.emulators import openai, openai_form
from providers.emulators.openai import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.emulators.ear import Emulation
    from providers.emulators.openai_form import Form

    _Answer = Callable[[web.Request, Form], Awaitable[web.StreamResponse]]

_MODELS: Final = {  # each as OpenAI's own emulator knows it
    "whisper": "whisper-1",
    "gpt-transcribe": "gpt-transcribe",
    "gpt-4o-transcribe": "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe": "gpt-4o-mini-transcribe",
    "gpt-4o-transcribe-diarize": "gpt-4o-transcribe-diarize",
}
_DEPLOYMENTS: Final = _MODELS | {f"my-{name}": known for name, known in _MODELS.items()}
_HEADERS: Final = {"x-ms-region": "emulated", "x-ratelimit-remaining-requests": "-1", "x-ratelimit-limit-requests": "0"}


def build_app(emulation: Emulation) -> web.Application:
    """Return the resource: classic routes, which name the deployment and a version, and those of v1."""

    async def transcribe(request: web.Request, form: Form) -> web.StreamResponse:
        return await openai.answer_transcription(request, form, emulation)

    async def translate(request: web.Request, form: Form) -> web.StreamResponse:
        del request
        return await openai.answer_translation(form, emulation)

    app = web.Application(client_max_size=openai_form.MAX_READ_BYTES)
    answers: list[tuple[str, _Answer]] = [("transcriptions", transcribe), ("translations", translate)]
    for task, answer in answers:
        handler = _handler(emulation, answer)
        app.router.add_post(f"/openai/deployments/{{deployment}}/audio/{task}", handler)
        app.router.add_post(f"/openai/v1/audio/{task}", handler)
    return app


def _handler(emulation: Emulation, answer: _Answer) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            _admit(request, emulation.key)
            response = await answer(request, _of_the_model(request, await openai.read_form(request)))
        except Refusal as refusal:
            response = _refused(refusal)
        if not response.prepared:
            response.headers.update({**_HEADERS, "apim-request-id": str(uuid4())})
        return response

    return handle


def _admit(request: web.Request, key: str) -> None:
    """Ask for the key or a token, and on classic routes for a version."""
    given = request.headers.get("api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
    if given == f"{key}-limited":
        message = "Requests to the Audio_Transcriptions Operation have exceeded call rate limit."
        raise Refusal(429, f"{message} Please retry after 33 seconds.", code="RateLimitReached")
    if given != key:
        raise Refusal(401, "Access denied due to invalid subscription key or wrong API endpoint.", code="401")
    if "deployment" in request.match_info and not request.query.get("api-version"):
        raise Refusal(404, "Resource not found", code="404")
    if (request.content_length or 0) > openai.MAX_BYTES:
        raise Refusal(413, f"Maximum content size limit ({openai.MAX_BYTES}) exceeded", code="413")


def _of_the_model(request: web.Request, form: Form) -> Form:
    """Return the form with the model behind the deployment. The classic routes ignore the part."""
    deployment = request.match_info.get("deployment") or form.one("model")
    if deployment not in _DEPLOYMENTS:
        raise Refusal(404, "The API deployment for this resource does not exist.", code="DeploymentNotFound")
    fields = {**form.fields, "model": (_DEPLOYMENTS[deployment],)}
    return openai_form.Form(fields=fields, file_name=form.file_name, audio=form.audio)


def _refused(refusal: Refusal) -> web.Response:
    code = refusal.envelope["code"] or str(refusal.status)
    body = {"error": {"code": code, "message": refusal.envelope["message"]}}
    limited = {"retry-after": "33", "retry-after-ms": "33000"} if refusal.status == HTTPStatus.TOO_MANY_REQUESTS else {}
    return web.json_response(body, status=refusal.status, headers=limited)
