"""How much the C library's allocator keeps to itself. Of glibc alone: elsewhere nothing of this is done.

What it does and why: docs/decisions/0017-what-is-imported-and-when.md.
"""

from __future__ import annotations

import asyncio
import ctypes
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_M_ARENA_MAX: Final = -8  # <malloc.h>
_LOOK_EVERY_S: Final = 10.0


def share_one_arena() -> None:
    """Let all threads allocate from one heap, where each would keep its own peak. Call it before there are any.

    Hardly anything waits for it, since who allocates holds Python's lock; not so the threads of a local model's engine.
    """
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Give unused pages to the system: imports and schemas leave holes behind. Takes some milliseconds."""
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


async def give_back_at_rest(in_flight: Callable[[], int]) -> None:
    """Give unused pages back whenever nobody asks: while somebody does, the next request would page them in again."""
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        if not in_flight():
            await asyncio.to_thread(give_back)
