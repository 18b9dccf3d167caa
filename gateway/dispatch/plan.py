"""Who can do this job: a pure decision over capabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from config.settings import OnUnsupported
from gateway.dispatch.answers import TOO_LARGE
from gateway.problems import Problem
from providers.provider import unread_options
from providers.types import GENERATION_NAMES, Task, Timestamps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from gateway.dispatch.routes import Route
    from providers.types import Capabilities, Deployment, TranscriptionJob


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment that can do the job, and what it would leave undone."""

    deployment: Deployment
    capabilities: Capabilities
    ignored: tuple[str, ...] = ()  # parameters it cannot honour


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment that was passed over, and why."""

    deployment: Deployment
    param: str
    reason: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Deployments in the order they will be tried."""

    candidates: tuple[Candidate, ...]
    refusals: tuple[Refusal, ...]


def plan(
    job: TranscriptionJob,
    route: Route,
    capabilities_of: Callable[[Deployment], Capabilities | None],
    today: date,
    in_order: Callable[[Sequence[Deployment]], Sequence[int]] = lambda given: range(len(given)),
) -> Plan:
    """Order the route's deployments: those that honour everything asked for first, then by the route's strategy.

    in_order: the strategy: the indices of deployments, best first.
    Raises Problem 422 or 413 where none is left, naming the parameter and the deployments asked.
    """
    decided = sift(job, route, capabilities_of, today)
    if not decided.candidates:
        raise _nobody(job, decided.refusals)
    if len(decided.candidates) == 1:
        return decided
    ordered = [decided.candidates[at] for at in in_order([each.deployment for each in decided.candidates])]
    candidates = tuple(sorted(ordered, key=lambda each: len(each.ignored)))
    return Plan(candidates=candidates, refusals=decided.refusals)


def sift(
    job: TranscriptionJob, route: Route, capabilities_of: Callable[[Deployment], Capabilities | None], today: date
) -> Plan:
    """Part the route's deployments into those that can do the job and those passed over, each with its reason."""
    candidates: list[Candidate] = []
    refusals: list[Refusal] = []
    for deployment in route.deployments:
        capabilities = capabilities_of(deployment)
        refusal = _refusal(job, deployment, capabilities, today)
        if refusal or capabilities is None:
            refusals += [refusal] if refusal else []
            continue
        ignored = tuple(_unhonoured(job, deployment.account.adapter, capabilities))
        if ignored and route.on_unsupported is OnUnsupported.REJECT:
            refusals.append(
                Refusal(deployment=deployment, param=ignored[0], reason=f"does not honour {', '.join(ignored)}")
            )
            continue
        candidates.append(Candidate(deployment=deployment, capabilities=capabilities, ignored=ignored))
    return Plan(candidates=tuple(candidates), refusals=tuple(refusals))


def _refusal(
    job: TranscriptionJob, deployment: Deployment, capabilities: Capabilities | None, today: date
) -> Refusal | None:
    """Say what makes the job impossible there, whatever may be ignored."""
    if capabilities is None:
        return Refusal(deployment=deployment, param="model", reason="is not loaded")
    fault = _impossible(job, capabilities, today)
    return Refusal(deployment=deployment, param=fault[0], reason=fault[1]) if fault else None


def _impossible(job: TranscriptionJob, can: Capabilities, today: date) -> tuple[str, str] | None:
    if can.retires_on and today >= can.retires_on:
        return "model", f"was retired on {can.retires_on}"
    if job.task not in can.tasks:
        return "task", f"does not {job.task}"
    if can.languages is not None and job.language and job.language not in can.languages:
        return "language", f"does not know {job.language!r}"
    if job.timestamps is not Timestamps.NONE and times_for(job, can) is None:
        return "return_timestamps", f"gives no {job.timestamps} times"
    if job.diarize and not can.diarize:
        return "diarize", "does not tell speakers apart"
    return _too_much(job, can)


def times_for(job: TranscriptionJob, can: Capabilities) -> Timestamps | None:
    """Return the times to ask for: segments can be made of words. None where there is no way."""
    if job.timestamps is Timestamps.SEGMENT and job.timestamps not in can.timestamps:
        return Timestamps.WORD if Timestamps.WORD in can.timestamps else None
    return job.timestamps if job.timestamps is Timestamps.NONE or job.timestamps in can.timestamps else None


def _too_much(job: TranscriptionJob, can: Capabilities) -> tuple[str, str] | None:
    taken_as_is = can.containers is None or job.audio.container in can.containers
    if can.max_bytes is not None and taken_as_is and job.audio.size_bytes > can.max_bytes:
        return "size", f"takes at most {can.max_bytes} bytes"
    if can.max_duration_s is not None and (job.audio.duration_s or 0) > can.max_duration_s:
        return "duration", f"takes at most {can.max_duration_s:g} s"
    return None


def _unhonoured(job: TranscriptionJob, adapter: str, can: Capabilities) -> Sequence[str]:
    names = [name for name, value in job.generation.given() if not can.honours(name, value)]
    if job.prompt and not can.prompt:
        names.append("prompt")
    if job.language and not _takes_the_hint(job, can):
        names.append("language")
    return names + [f"provider_options.{adapter}.{name}" for name in unread_options(job, adapter, can)]


def without(job: TranscriptionJob, ignored: Sequence[str]) -> TranscriptionJob:
    """Return the job without what a candidate leaves undone: what is sent there, it has to honour or to refuse."""
    generation = dict.fromkeys((name for name in ignored if name in GENERATION_NAMES), None)
    return replace(
        job,
        generation=replace(job.generation, **generation),
        prompt=None if "prompt" in ignored else job.prompt,
        language=None if "language" in ignored else job.language,
    )


def _takes_the_hint(job: TranscriptionJob, can: Capabilities) -> bool:
    if job.task is Task.TRANSLATE and not can.translation_hint:
        return False
    return can.language_hint or can.languages is not None


def _nobody(job: TranscriptionJob, refusals: Sequence[Refusal]) -> Problem:
    lines = "; ".join(f"{each.deployment.name} {each.reason}" for each in refusals)
    params = {each.param for each in refusals}
    if params <= {"size", "duration"}:
        return Problem(status=413, type=TOO_LARGE, message=f"no deployment of {job.model!r} takes this much: {lines}")
    param = next((each.param for each in refusals if each.param not in {"size", "duration", "model"}), None)
    if param is None:
        return Problem(
            status=502,
            type="no-deployment",
            message=f"no deployment of {job.model!r} can serve: {lines}",
            headers={"x-should-retry": "false"},
        )
    return Problem(
        status=422,
        type="unsupported-parameter",
        message=f"{param}: no deployment of {job.model!r} can do what was asked: {lines}",
        param=param,
    )
