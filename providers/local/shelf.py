"""Models of one device within so much memory: loaded when they are asked for, the one used longest ago makes room."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from providers.errors import JobUnsupported, ProviderUnavailable
from providers.local.models import ModelMissing
from providers.local.provider import NAME
from providers.types import Timestamps

if TYPE_CHECKING:
    from collections.abc import Callable

    from providers.exchange import Progress
    from providers.local.provider import LocalModel
    from providers.types import Capabilities, Deployment, Moment, Transcript, TranscriptionJob

_SHUT_DOWN: Final = "the local model is shut down"


class Shelf:
    """What is loaded now, of models that share a budget."""

    def __init__(self, budget_bytes: int | None = None) -> None:
        """budget_bytes: of all models together; None: whatever they take."""
        self._budget_bytes = budget_bytes
        self._loaded: dict[ShelvedModel, int] = {}  # their bytes, the one used longest ago first
        self._turn = asyncio.Lock()  # whoever came first is loaded first, though others are quicker to find room

    def used(self, model: ShelvedModel) -> None:
        """Remember that this one is the last that was asked for."""
        if model in self._loaded:
            self._loaded[model] = self._loaded.pop(model)

    def forget(self, model: ShelvedModel) -> None:
        """Count it no more: its owner has given its memory back."""
        self._loaded.pop(model, None)

    async def load(self, model: ShelvedModel) -> None:
        """Load it once there is room. Raises ModelMissing."""
        async with self._turn:
            await self._make_room(model.expected_bytes)
            size_bytes = await model.take_in()
            await self._make_room(size_bytes)  # it may have taken more than its files said
            if not self._fits(size_bytes):
                await model.give_back()
                raise ModelMissing(
                    f"{model.name} takes {size_bytes / 1e6:.0f} MB, which is more than memory_budget: raise it"
                )
            self._loaded[model] = size_bytes

    async def _make_room(self, size_bytes: int) -> None:
        """Let go of others as long as that may help; who is at work is waited for."""
        while self._loaded and not self._fits(size_bytes):
            longest_unused = next(iter(self._loaded))
            await longest_unused.leave()
            self.forget(longest_unused)

    def _fits(self, size_bytes: int) -> bool:
        return self._budget_bytes is None or sum(self._loaded.values()) + size_bytes <= self._budget_bytes


class _Count:
    """How many are at something, and when they are none."""

    def __init__(self) -> None:
        self._there = 0
        self.none = asyncio.Event()
        self.none.set()

    def __enter__(self) -> None:
        self._there += 1
        self.none.clear()

    def __exit__(self, *_: object) -> None:
        self._there -= 1
        if not self._there:
            self.none.set()


class _Held:
    """A model that is loaded, and who is at it."""

    def __init__(self, model: LocalModel) -> None:
        self.model = model
        self.users = _Count()


class ShelvedModel:
    """A local model that may be loaded, or not be: to dispatch the same."""

    def __init__(
        self,
        name: str,
        make: Callable[[], LocalModel],
        shelf: Shelf,
        *,
        assumed: Capabilities | None = None,
        expected_bytes: int = 0,
        made_for: object = None,
    ) -> None:
        """make: gives the model, not yet loaded; it is asked each time it is loaded again.

        assumed: what it can do as far as can be told unloaded: it is loaded when it is asked for; None: at the start.
        expected_bytes: what it will take, as far as its files tell.
        """
        self.name = name
        self.made_for = made_for
        self.missing: ModelMissing | None = None
        self._capabilities = assumed
        self.expected_bytes = expected_bytes
        self.waiting = 0  # jobs that are queued or running
        self._make = make
        self._shelf = shelf
        self._at_start = assumed is None
        self._held: _Held | None = None
        self._takers = _Count()  # who wait until it is loaded
        self._loading: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._is_closed = False

    @property
    def capabilities(self) -> Capabilities | None:
        """What it can do, or is assumed to; None while it cannot be asked."""
        return None if self.missing else self._capabilities

    @property
    def ready(self) -> bool:
        return self.capabilities is not None

    @property
    def loaded(self) -> bool:
        return self._held is not None

    @property
    def queued(self) -> tuple[str, int]:
        """The model, and how many jobs wait for it to be free."""
        return self._held.model.queued if self._held else (self.name, self.waiting)

    async def load(self) -> None:
        """Load it now, unless it is for when it is asked for. One that is missing is remembered, not raised.

        One that was missing is tried again: its files may have come meanwhile.
        """
        if self._at_start or self.missing:
            await self.wake()

    async def wait_loaded(self) -> None:
        """Return when it can be asked, or is known to be missing."""
        if self._at_start:
            await self._tried.wait()

    async def transcribe(
        self, job: TranscriptionJob, to: Deployment, deadline: Moment, progress: Progress | None = None
    ) -> Transcript:
        """Return the transcript; load the model first where it is not. Raises ProviderError only."""
        self.waiting += 1
        try:
            held = self._held or await self._had(deadline)
            self._shelf.used(self)
            with held.users:
                if unmet := _unmet(job, held.model.capabilities):  # it was only assumed to
                    raise JobUnsupported(NAME, unmet)
                return await held.model.transcribe(job, to, deadline, progress)
        finally:
            self.waiting -= 1

    async def take_in(self) -> int:
        """Load it; return the bytes that it takes. Raises ModelMissing. For its shelf."""
        model = self._make()
        await model.load()
        if model.missing:
            raise model.missing
        if self._is_closed:  # just as it came: nobody else knows of it, and an end of this task must not keep it
            asyncio.get_running_loop().run_in_executor(None, model.close)
            raise ModelMissing(_SHUT_DOWN)
        self._held = _Held(model)
        self._capabilities = model.capabilities
        self.expected_bytes = model.size_bytes
        return model.size_bytes

    async def leave(self) -> None:
        """Let running jobs end and give the memory back: who comes meanwhile has it loaded again. For its shelf."""
        await self._takers.none.wait()  # what was loaded for them is not taken away before they had it
        await self.give_back()

    async def give_back(self) -> None:
        """Do the same at once. For its shelf."""
        held, self._held = self._held, None
        if held:
            await held.users.none.wait()
            await asyncio.to_thread(held.model.close)

    def close(self) -> None:
        """Let running work end; drop what waits. Blocking."""
        self._is_closed, self.missing = True, ModelMissing(_SHUT_DOWN)
        self._tried.set()
        self._shelf.forget(self)
        if self._loading:
            self._loading.get_loop().call_soon_threadsafe(self._loading.cancel)
        held, self._held = self._held, None
        if held:
            held.model.close()

    async def wake(self) -> None:
        """Return when loading it was tried, whoever asked for that first; it goes on when they leave."""
        if self._held is not None or self._is_closed:
            return
        if self._loading is None:
            self._loading = asyncio.create_task(self._load())  # noqa: TID251 - owned here, until `close`
        await asyncio.wait((self._loading,))

    async def _had(self, deadline: Moment) -> _Held:
        """Return it once it is loaded. Raises ProviderUnavailable."""
        with self._takers:
            try:
                async with asyncio.timeout_at(deadline):
                    while self._held is None:
                        if self.missing:
                            raise ProviderUnavailable(NAME, str(self.missing))
                        await self.wake()
            except TimeoutError as error:
                raise ProviderUnavailable(
                    NAME, "it is still loading, or waits for other models to make room"
                ) from error
            return self._held

    async def _load(self) -> None:
        try:
            await self._shelf.load(self)
            self.missing = None
        except ModelMissing as error:
            self.missing = error
        except Exception as error:  # noqa: BLE001 - whatever the libraries below raise: who asks again would wait for ever
            self.missing = ModelMissing(
                f"the local model {self.name!r} cannot be loaded: {type(error).__name__}: {error}"
            )
        finally:
            self._loading = None
            self._tried.set()


def _unmet(job: TranscriptionJob, can: Capabilities | None) -> str | None:
    """Say what a loaded model cannot do of a job, if anything."""
    if can is None:
        return None
    if left := [name for name, value in job.generation.given() if not can.honours(name, value)]:
        return f"does not honour {', '.join(left)}"
    if job.task not in can.tasks:
        return f"does not {job.task}"
    if job.timestamps is not Timestamps.NONE and job.timestamps not in can.timestamps:
        return f"gives no {job.timestamps} times"
    if can.languages is not None and job.language and job.language not in can.languages:
        return f"does not know {job.language!r}"
    return "takes no prompt" if job.prompt and not can.prompt else None
