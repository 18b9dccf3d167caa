"""Steps of a request are timed in the context they run in, whoever waits for them."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import count

import pytest

from gateway.stages import Stage, Stages, noted_in, timed


class Ticking:
    """A clock that goes on by a second each time it is read, and what was told of each step."""

    def __init__(self) -> None:
        self.told: list[tuple[Stage, float]] = []
        self._seconds = count()

    def stages(self) -> Stages:
        return Stages({each: partial(self._tell, each) for each in Stage}, clock=lambda: next(self._seconds))

    def _tell(self, stage: Stage, seconds: float) -> None:
        self.told.append((stage, seconds))


class Traced:
    """What a tracer is told."""

    def __init__(self) -> None:
        self.begun: list[Stage] = []
        self.noted: dict[str, str | float] = {}
        self.ended: list[str | None] = []

    def begin(self, stage: Stage) -> Traced:
        self.begun.append(stage)
        return self

    def note(self, **facts: str | float) -> None:
        self.noted.update(facts)

    def end(self, error: BaseException | None) -> None:
        self.ended.append(None if error is None else type(error).__name__)


def test_a_step_is_told_with_its_seconds_and_added_up() -> None:
    ticking = Ticking()
    stages = ticking.stages()
    with noted_in(stages):
        for _ in range(2):
            with timed(Stage.ATTEMPT):
                pass
    assert ticking.told == [(Stage.ATTEMPT, 1), (Stage.ATTEMPT, 1)]
    assert stages.seconds == {Stage.ATTEMPT: 2}


def test_a_step_that_fails_took_its_time_too() -> None:
    ticking = Ticking()
    with noted_in(ticking.stages()), pytest.raises(ValueError, match="no"), timed(Stage.PROBE):
        raise ValueError("no")
    assert ticking.told == [(Stage.PROBE, 1)]


def test_outside_of_a_request_nothing_is_noted() -> None:
    """The file that is transcribed without a server, the check of a deployment that nobody asked for."""
    ticking = Ticking()
    with noted_in(ticking.stages()):
        pass
    with timed(Stage.ATTEMPT) as timing:
        timing.note(outcome="ok")
    assert ticking.told == []


async def test_a_task_belongs_to_the_request_that_began_it() -> None:
    """However long it lives, and whoever else waits for it."""
    first, second = Ticking(), Ticking()
    go_on = asyncio.Event()

    async def call() -> None:
        with timed(Stage.ATTEMPT):
            await go_on.wait()

    async with asyncio.TaskGroup() as group:
        with noted_in(first.stages()):
            called = group.create_task(call())
        with noted_in(second.stages()), timed(Stage.JOIN):
            go_on.set()
            await called
    assert [stage for stage, _ in first.told] == [Stage.ATTEMPT]
    assert [stage for stage, _ in second.told] == [Stage.JOIN]


def test_a_tracer_has_a_span_for_each_step() -> None:
    traced, stages = Traced(), Ticking().stages()
    stages.tracing = traced
    with noted_in(stages):
        with timed(Stage.ATTEMPT) as timing:
            timing.note(outcome="ok")
        with pytest.raises(ValueError, match="no"), timed(Stage.RENDER):
            raise ValueError("no")
    assert traced.begun == [Stage.ATTEMPT, Stage.RENDER]
    assert traced.noted == {"outcome": "ok"}
    assert traced.ended == [None, "ValueError"]
