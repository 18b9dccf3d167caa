"""A device that is full is told from every other failure."""

from __future__ import annotations

import pytest
import torch

from providers.local.engine import Abandoned, OutOfMemory
from providers.local.hf.interrupts import Waiting, memory_watched


def test_a_cpu_without_room_is_out_of_memory() -> None:
    with pytest.raises(OutOfMemory, match="allocate memory"), memory_watched():
        torch.empty(10**14)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError("no room")])
def test_so_are_the_errors_that_say_it_by_their_class(error: Exception) -> None:
    with pytest.raises(OutOfMemory), memory_watched():
        raise error


def test_another_failure_is_itself() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_watched():
        raise RuntimeError("shapes cannot be multiplied")
    with memory_watched():
        assert torch.empty(1).numel() == 1


def test_nobody_waiting_ends_it() -> None:
    assert not Waiting(lambda: False)(torch.zeros(3, 1), None).any()
    with pytest.raises(Abandoned):
        Waiting(lambda: True)(torch.zeros(3, 1), None)
