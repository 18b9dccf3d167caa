"""Answers in memory: for a time, as far as there is room."""

from __future__ import annotations

import tracemalloc

from gateway.stores.kept import Extent, Kept
from gateway.stores.memory_cache import MemoryCache


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_value_ages_and_goes() -> None:
    clock = Clock()
    store = MemoryCache(10_000, clock)
    await store.put("a", b"one", 60.0)
    clock.now += 59.0
    assert await store.get("a") == Kept(value=b"one", age_s=59.0)
    clock.now += 1.0
    assert await store.get("a") is None
    assert (store.size_bytes, store.evictions) == (0, 0), "its time was over: it made no room"


async def test_the_least_lately_used_make_room() -> None:
    store = MemoryCache(3000, Clock())
    for name in "abc":
        await store.put(name, bytes(300), 60.0)
    await store.get("a")
    await store.put("d", bytes(300), 60.0)
    assert [name for name in "abcd" if await store.get(name)] == ["a", "c", "d"]
    assert (store.size_bytes, store.evictions) == (2700, 1)


async def test_what_would_fill_it_alone_is_not_kept() -> None:
    store = MemoryCache(3000, Clock())
    await store.put("small", b"x", 60.0)
    await store.put("large", bytes(3000), 60.0)
    assert await store.get("large") is None
    assert await store.get("small")


async def test_a_value_takes_the_place_of_the_one_before() -> None:
    clock = Clock()
    store = MemoryCache(3000, clock)
    await store.put("a", bytes(500), 60.0)
    clock.now += 50.0
    await store.put("a", b"new", 60.0)
    clock.now += 50.0
    assert await store.get("a") == Kept(value=b"new", age_s=50.0)
    assert await store.extent() == Extent(entries=1, size_bytes=603)


async def test_it_forgets() -> None:
    store = MemoryCache(3000, Clock())
    for name in "abc":
        await store.put(name, b"x", 60.0)
    assert await store.purge() == 3
    assert await store.extent() == Extent(entries=0, size_bytes=0)
    assert store.evictions == 0
    assert await store.get("a") is None


async def test_small_values_do_not_take_more_than_they_are_counted_as() -> None:
    """A bound in bytes that counted values alone would let a million short ones through."""
    store = MemoryCache(100 << 20, Clock())
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for at in range(5000):
        await store.put(f"{at:064x}", bytes(20), 1e6 + at)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < store.size_bytes
