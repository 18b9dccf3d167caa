"""What ends a run of a model before it is done: nobody waits any more, or the device is full."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from transformers import StoppingCriteria

from providers.local.engine import Abandoned, OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Waiting(StoppingCriteria):  # type: ignore[misc] # the library has no types
    """Asked after each token: raises Abandoned once nobody waits."""

    def __init__(self, is_abandoned: Callable[[], bool]) -> None:
        self._is_abandoned = is_abandoned

    def __call__(self, input_ids: torch.Tensor, _scores: object, **_: object) -> torch.Tensor:
        """Stop no row."""
        if self._is_abandoned():
            raise Abandoned
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


@contextmanager
def memory_watched() -> Iterator[None]:
    """Raise OutOfMemory for what torch and the allocators below it raise, once what was held is free again."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_for_memory(error):
            raise
        failure = str(error)
    else:
        return
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()
    raise OutOfMemory(failure)  # outside: the frames of the first error hold the tensors that filled the device


def _is_for_memory(error: RuntimeError | MemoryError) -> bool:
    """Tell a device that is full; a CPU's allocator says it in words only."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)
