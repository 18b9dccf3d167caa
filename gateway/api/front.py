"""What every transcribing route shares: receive, measure, dispatch, render. A front supplies the dialect."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec.structs import replace

from gateway.api import options
from gateway.api.response import Response
from gateway.api.terms import asking, is_dry_run
from gateway.dispatch.answers import CREDENTIALS_REJECTED, InVain
from gateway.dispatch.explain import explained
from gateway.intake.measure import measure
from gateway.problems import Problem, forbidden, unauthorized
from gateway.stages import Stage, timed
from gateway.stores.usage import ABANDONED
from providers.types import TranscriptionJob

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from gateway.api.admission import Admission
    from gateway.api.auth import Caller
    from gateway.api.parameters import Parameters
    from gateway.api.request import Request
    from gateway.api.service import Service
    from gateway.dispatch.answers import Answer
    from gateway.dispatch.routes import Route, Routes
    from gateway.dispatch.service import Dispatcher
    from gateway.intake.upload import Shape, Upload
    from gateway.observe import Observed
    from providers.types import Audio


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What one request asks for, in no dialect but with what its own needs to answer."""

    model: str
    parameters: Parameters
    account: str | None = None  # pinned to it
    native_adapter: str | None = None  # whose dialect this is: in passthrough mode the token is that provider's
    rendering: Mapping[str, Any] = msgspec.field(default_factory=dict)  # the front's own notes


class Front(Protocol):
    """One dialect."""

    name: str
    shape: Shape

    def named(self, request: Request) -> str:
        """Return the model that the path names; empty where the body does."""
        ...

    def read(self, request: Request, upload: Upload) -> Asked:
        """Parse. Raises Problem."""
        ...

    def render(self, asked: Asked, audio: Audio, answer: Answer) -> Response:
        """Answer in the dialect's own shape. Raises Problem where the transcript lacks what was asked for."""
        ...

    def render_problem(self, problem: Problem, request_id: str) -> Response:
        """Say in the dialect's own shape why there is no answer."""
        ...


class Endpoint:
    """A transcribing route's handler, with the front that it speaks."""

    def __init__(self, front: Front) -> None:
        self.front = front

    async def handle(self, request: Request) -> Response:
        service, observed, caller = request.service, request.observed, request.caller
        observed.front = self.front.name
        if model := self.front.named(request):
            observed.model = _known(service.routes, model)
        async with service.limiting.of(request, caller, observed) as admission:
            return await self._run(request, admission)

    async def _run(self, request: Request, admission: Admission) -> Response:
        service, observed, caller = request.service, request.observed, request.caller
        how, dry_run = asking(request, service.settings.cache.scope), is_dry_run(request)
        with timed(Stage.RECEIVE):
            upload = await service.intake.receive(request, self.front.shape)
        try:
            observed.upload_bytes = upload.content.size_bytes
            asked = self.front.read(request, upload)
            observed.model = _known(service.routes, asked.model)
            route = _route(service.routes, asked, caller)
            left_s = how.timeout_s
            if upload.address is not None:
                left_s = await service.intake.fetch(upload, left_s)
                observed.upload_bytes = upload.content.size_bytes
            with timed(Stage.PROBE):
                audio = await measure(upload, service.demuxer, max_duration_s=service.settings.server.max_duration)
            observed.audio_s = audio.duration_s
            if asked.parameters.provider_options:
                await options.load(asked.parameters.provider_options)
            job = _job(asked, audio)
            if dry_run:
                return _planned(service.dispatcher, job, route)
            admit = partial(admission.charge, asked.model, route, audio)
            book = partial(_booked, service, observed, admission)
            spent = partial(_spent, service, observed, admission)
            how = replace(how, timeout_s=left_s, hold=partial(_held, service, upload), book=book, spent=spent)
            answer = await _dispatched(partial(service.caching.transcribe, job, route, how, admit), caller, spent)
            observed.answered(answer, service.dispatcher.means.health.label)
            admission.answered(answer)
            with timed(Stage.RENDER):
                response = self.front.render(asked, audio, answer)
        finally:
            upload.close()
        response.headers.update({**_headers(asked, answer), **_cost(observed), **admission.headers})
        return response


def endpoint(front: Front) -> Callable[[Request], Awaitable[Response]]:
    """Make the handler of a transcribing route."""
    return Endpoint(front).handle


def _known(routes: Routes, model: str) -> str:
    """Return a model as logs, metrics and the ledger know it: whatever callers make up is one name."""
    return model if model in routes.by_model else "other"


@contextmanager
def _held(service: Service, upload: Upload) -> Iterator[None]:
    """Keep what a call needs that may outlive the request that began it."""
    with service.used(), upload.held():
        yield


def _booked(service: Service, observed: Observed, admission: Admission, answer: Answer) -> None:
    """Write down what a call cost that ended when its caller had left."""
    alone = replace(observed, problem="", cause="")
    alone.answered(answer, service.dispatcher.means.health.label)
    admission.paid(answer)
    service.book(alone, ABANDONED)


def _spent(service: Service, observed: Observed, admission: Admission, paid: Answer) -> None:
    """Write down what was paid and brought this request nothing."""
    observed.spent(paid, service.dispatcher.means.health.label)
    admission.spent(paid)


def _planned(dispatcher: Dispatcher, job: TranscriptionJob, route: Route) -> Response:
    plan, part_s = dispatcher.foreseen(job, route)
    told = explained(job, route, plan, dispatcher.means.health, part_s)
    return Response(msgspec.json.encode(told), "application/json")


async def _dispatched(
    dispatch: Callable[[], Awaitable[Answer]], caller: Caller, spent: Callable[[Answer], None]
) -> Answer:
    """Dispatch. Raises Problem; where the key that was refused is the caller's own, the caller is told so.

    spent: told what was paid in vain.
    """
    try:
        return await dispatch()
    except Problem as problem:
        if isinstance(problem, InVain) and problem.paid is not None:
            spent(problem.paid)
        if caller.token is not None and problem.type == CREDENTIALS_REJECTED:
            raise unauthorized("the provider refused this token") from problem
        raise


def _route(routes: Routes, asked: Asked, caller: Caller) -> Route:
    if not caller.may_use(asked.model):
        raise forbidden(f"this key may not use the model {asked.model!r}", "model-not-allowed")
    if caller.token is not None:
        return routes.for_token(asked.model, asked.account, asked.native_adapter, caller.token)
    if asked.account:
        return routes.pinned(asked.model, asked.account)
    return routes.resolve(asked.model)


def _job(asked: Asked, audio: Audio) -> TranscriptionJob:
    wants = asked.parameters
    return TranscriptionJob(
        model=asked.model,
        audio=audio,
        task=wants.task,
        language=wants.language,
        prompt=wants.prompt,
        timestamps=wants.timestamps,
        generation=wants.generation,
        diarize=wants.diarize,
        provider_options=options.checked(wants.provider_options),
    )


def _headers(asked: Asked, answer: Answer) -> dict[str, str]:
    ignored = (*asked.parameters.without_effect, *answer.ignored, *_unread_options(asked, answer))
    duration_s = answer.transcript.duration_s
    headers = {
        "X-Gateway-Provider": answer.deployment.account.name,
        "X-Gateway-Model": answer.deployment.native_model,
        "X-Gateway-Attempts": str(len(answer.attempts)),
        "X-Gateway-Cache": answer.cached.value,
    }
    if answer.parts:
        headers["X-Gateway-Parts"] = str(len(answer.parts))
    if answer.age_s is not None:
        headers["Age"] = f"{answer.age_s:.0f}"
    if ignored:
        headers["X-Gateway-Ignored-Parameters"] = ", ".join(ignored)
    if duration_s is not None:
        headers["X-Audio-Duration"] = f"{duration_s:.3f}"
    return headers


def _cost(observed: Observed) -> dict[str, str]:
    """Return what the answer cost, where that is known: in plain digits, however little it is."""
    usd = observed.cost_usd
    return {} if usd is None else {"X-Gateway-Cost": f"{usd:.9f}".rstrip("0").rstrip(".")}


def _unread_options(asked: Asked, answer: Answer) -> list[str]:
    """Return the options meant for other providers than the one that answered."""
    given = asked.parameters.provider_options
    own = answer.deployment.account.adapter
    return [f"provider_options.{adapter}.{name}" for adapter in given if adapter != own for name in given[adapter]]
