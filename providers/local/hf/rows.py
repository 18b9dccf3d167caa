"""How many rows of a batch a device has room for."""

from __future__ import annotations

from itertools import chain
from typing import Any, Final

import torch

ON_A_CPU: Final = 8
"""Rows: a batch of so many is worth 1.7 single ones there, one of twice as many hardly more."""
_MOST: Final = 64
_USED: Final = 0.7  # of the memory that is free once the model is loaded: encoders take some, and allocators lose some


def size_bytes(model: Any) -> int:  # noqa: ANN401 - the library has no types
    """Return what the weights take."""
    return sum(each.nbytes for each in chain(model.parameters(), model.buffers()))


def most_rows(model: Any, row_bytes: int) -> int:  # noqa: ANN401 - as above
    """Return how many rows a batch may have on the model's device."""
    device = model.device
    if device.type == "cpu":
        return ON_A_CPU
    if device.type != "cuda":
        return ON_A_CPU  # other devices share their memory with the machine
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(_MOST, int(free * _USED) // row_bytes))
