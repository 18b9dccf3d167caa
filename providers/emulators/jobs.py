"""The jobs of an emulated service: runs that take their time, and what became of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from providers.audio.unreadable import AudioTooLong, UnreadableAudio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.emulators.ear import Emulation
    from providers.types import Transcript

_WAITING_SHARE: Final = 0.3  # of a run's time it waits for a machine


@dataclass(slots=True, kw_only=True)
class Run:
    """One job. What it will say is known from the beginning, and told at its end."""

    id: str
    asked: Mapping[str, Any]
    audio: bytes
    began: float  # on the loop's clock
    lasts_s: float
    heard: Transcript | None = None
    translated: Transcript | None = None  # where that was asked for
    fault: str | None = None  # why it could not be heard
    asked_after: bool = False
    stopped: bool = False  # deleted before its end
    deleted: bool = False

    @property
    def left_s(self) -> float:
        """Return the seconds until its end."""
        return self.lasts_s - self._worked_s()

    @property
    def is_over(self) -> bool:
        return self.left_s <= 0

    @property
    def is_waiting(self) -> bool:
        """Whether it has not begun to be worked on."""
        return self._worked_s() < self.lasts_s * _WAITING_SHARE

    def _worked_s(self) -> float:
        return asyncio.get_running_loop().time() - self.began

    def stop(self) -> None:
        """End it now, and keep it."""
        if not self.is_over:
            self.stopped, self.lasts_s = True, 0.0

    def delete(self) -> None:
        self.stopped = self.stopped or not self.is_over
        self.deleted = True
        self.audio, self.heard, self.translated = b"", None, None


class Runs:
    """All jobs of one service, the deleted too."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._runs: dict[str, Run] = {}
        self._numbers = count(1)

    async def begin(
        self,
        asked: Mapping[str, Any],
        audio: bytes | None,
        *,
        language: str | None = None,
        prompt: str | None = None,
        translate: bool = False,
    ) -> Run:
        """Start a job. audio: None where there is none to be had, which fails it. translate: hear it in English too."""
        ear = self._emulation.ear
        run = Run(
            id=str(UUID(int=next(self._numbers), version=4)),
            asked=asked,
            audio=audio or b"",
            began=asyncio.get_running_loop().time(),
            lasts_s=self._emulation.job_s,
        )
        self._runs[run.id] = run
        if audio is None:
            run.fault = "nothing to be had"
            return run
        try:
            run.heard = await ear.hear(audio, language=language, prompt=prompt)
            run.translated = await ear.hear(audio, translate=True) if translate else None
        except (UnreadableAudio, AudioTooLong) as fault:
            run.fault = str(fault)
        return run

    def find(self, identity: str) -> Run | None:
        """Return a job that is still there, and note that somebody asked."""
        run = self._runs.get(identity)
        if run is None or run.deleted:
            return None
        run.asked_after = True
        return run

    def kept(self) -> list[Run]:
        return [run for run in self._runs.values() if not run.deleted]

    def state(self) -> dict[str, Any]:
        """Tell what became of each, for tests."""
        return {
            "jobs": {run.id: _became(run) for run in self._runs.values()},
            "cancelled": [run.id for run in self._runs.values() if run.stopped],
            "asked_after": [run.id for run in self._runs.values() if run.asked_after],
        }


def _became(run: Run) -> str:
    if run.deleted:
        return "deleted"
    if not run.is_over:
        return "running"
    return "failed" if run.fault else "done"
