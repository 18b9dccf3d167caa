"""Engines elsewhere, asked how they are: whether each is there, lets us in, and has what is wanted of it."""

from __future__ import annotations

import asyncio
import time
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.found import LOADING, MISSING, OK, Found
from providers.local.remote import Absence, Away, EngineElsewhere, RemoteModel
from providers.local.wire import Condition, State
from providers.transport import new_session

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from providers.types import Deployment

_DRAINING: Final = "draining"
_OUTCOMES: Final = {State.READY: OK, State.LOADING: LOADING, State.MISSING: MISSING}


class _Said(NamedTuple):
    """What is known of a model."""

    outcome: str
    reason: str = ""


async def ask_engines(deployments: Iterable[Deployment]) -> list[Found]:
    """Ask each engine once, all together; return what was found of each deployment. No job is sent."""
    by_account = sorted(deployments, key=_account)
    async with new_session() as session:
        engines = (
            (EngineElsewhere(session, own[0].account), own)
            for own in (list(each) for _, each in groupby(by_account, _account))
        )
        of_each = await asyncio.gather(*(_ask(engine, own) for engine, own in engines))
    return [found for each in of_each for found in each]


def _account(deployment: Deployment) -> str:
    return deployment.account.name


async def _ask(engine: EngineElsewhere, wanted: Sequence[Deployment]) -> list[Found]:
    began_s = time.monotonic()
    said = await _said_of(engine, wanted)
    seconds = time.monotonic() - began_s
    return [
        Found(deployment=each, outcome=of_it.outcome, reason=of_it.reason, seconds=seconds)
        for each, of_it in zip(wanted, said, strict=True)
    ]


async def _said_of(engine: EngineElsewhere, wanted: Sequence[Deployment]) -> list[_Said]:
    try:
        health = await engine.health()
    except Away as away:
        return [_Said(away.why, str(away))] * len(wanted)
    if health.status == _DRAINING:
        return [_Said(Absence.UNREACHABLE, "the engine is about to end: it takes no more jobs")] * len(wanted)
    if health.models is None:
        return await asyncio.gather(*(_said_by_itself(engine, each.native_model) for each in wanted))
    return [_said_in(health.models, each.native_model) for each in wanted]


def _said_in(models: Mapping[str, Condition], name: str) -> _Said:
    """Read what an engine says of all its models."""
    condition = models.get(name)
    if condition is None:
        return _Said(Absence.NOT_HELD, f"the engine holds {', '.join(models) or 'no model'}")
    return _Said(_OUTCOMES[condition.state], condition.why or "")


async def _said_by_itself(engine: EngineElsewhere, name: str) -> _Said:
    """Ask for one model as a gateway does: of a wrong key an engine says no more, and Ray's tells of no list.

    That may make the engine load it.
    """
    model = RemoteModel(name, engine)
    await model.load()
    if model.missing is None:
        return _Said(OK)
    return _Said(model.absence or MISSING, str(model.missing))
