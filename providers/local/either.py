"""One model in two engines: the quick one does what it can, the thorough one the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from providers.errors import JobUnsupported, ProviderUnavailable
from providers.local.provider import NAME

if TYPE_CHECKING:
    from providers.exchange import Progress
    from providers.local.models import ModelMissing
    from providers.types import Capabilities, Deployment, Moment, Transcript, TranscriptionJob


class Half(Protocol):
    """One of the two: `shelf.ShelvedModel`, as far as it is needed here."""

    missing: ModelMissing | None
    waiting: int

    @property
    def capabilities(self) -> Capabilities | None: ...
    @property
    def ready(self) -> bool: ...
    @property
    def queued(self) -> tuple[str, int]: ...
    async def load(self) -> None: ...
    async def wake(self) -> None: ...
    async def wait_loaded(self) -> None: ...
    async def transcribe(
        self, job: TranscriptionJob, to: Deployment, deadline: Moment, progress: Progress | None = None
    ) -> Transcript: ...
    def close(self) -> None: ...


class EitherModel:
    """Asks the quick engine for what it honours. The thorough one takes its memory when a job first needs it."""

    def __init__(self, quick: Half, thorough: Half, *, made_for: object = None) -> None:
        self.made_for = made_for
        self._quick = quick
        self._thorough = thorough

    @property
    def missing(self) -> ModelMissing | None:
        """Say why neither can be asked."""
        return self._quick.missing and self._thorough.missing and self._quick.missing

    @property
    def ready(self) -> bool:
        return self._quick.ready or (self._quick.missing is not None and self._thorough.ready)

    @property
    def waiting(self) -> int:
        return self._quick.waiting + self._thorough.waiting

    @property
    def queued(self) -> tuple[str, int]:
        """The model, and how many jobs wait for one of them to be free."""
        name, jobs = self._quick.queued
        return name, jobs + self._thorough.queued[1]

    @property
    def capabilities(self) -> Capabilities | None:
        """What one or the other can do."""
        if not self.ready:
            return None
        able = [each.capabilities for each in (self._quick, self._thorough) if each.ready and each.capabilities]
        return able[0] if len(able) == 1 else _joined(*able)

    async def load(self) -> None:
        """Load the quick one; where there is none, the other."""
        await self._quick.load()
        if self._quick.missing:
            await self._thorough.wake()

    async def wait_loaded(self) -> None:
        """Return when it can be asked, or both are known to be missing."""
        await self._quick.wait_loaded()
        if self._quick.missing:
            await self._thorough.wake()

    async def transcribe(
        self, job: TranscriptionJob, to: Deployment, deadline: Moment, progress: Progress | None = None
    ) -> Transcript:
        """Return the transcript. Raises ProviderError only."""
        if self._is_for_quick(job):
            try:
                return await self._quick.transcribe(job, to, deadline, progress)
            except JobUnsupported:  # a value, or several together, which its capabilities do not tell
                if not self._thorough.ready:
                    raise
        try:
            return await self._thorough.transcribe(job, to, deadline, progress)
        except ProviderUnavailable as error:
            if (
                self._thorough.missing and self._quick.ready
            ):  # not to be tried again: the quick one would drop it silently
                raise JobUnsupported(NAME, str(self._thorough.missing)) from error
            raise

    def close(self) -> None:
        """Let running work end; drop what waits. Blocking."""
        self._quick.close()
        self._thorough.close()

    def _is_for_quick(self, job: TranscriptionJob) -> bool:
        can = self._quick.capabilities
        return can is not None and all(can.honours(name, value) for name, value in job.generation.given())


def _joined(one: Capabilities, other: Capabilities) -> Capabilities:
    """Return what one of two engines for the same weights can do: they differ in parameters and times alone."""
    return replace(
        one,
        generation=one.generation | other.generation,
        timestamps=one.timestamps | other.timestamps,
        tasks=one.tasks | other.tasks,
        prompt=one.prompt or other.prompt,
    )
