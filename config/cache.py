"""What is kept of answers, so that the same audio is not paid for twice."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import ByteSize, model_validator

from config.section import Section
from config.units import Bytes, Seconds, SecondsOrNone


class CacheStore(StrEnum):
    """Where answers are kept."""

    NONE = "none"  # nothing is kept, and jobs that are the same are each sent
    MEMORY = "memory"  # of each process; gone when it ends
    SQLITE = "sqlite"  # a file that outlives it, shared by the workers of one machine
    REDIS = "redis"  # shared by every replica


class CacheScope(StrEnum):
    """Who is given whose answers."""

    CALLER = "caller"  # each key its own
    SHARED = "shared"  # every key those of all; with passthrough each token still its own


class Cache(Section):
    """An answer is given again where audio, parameters and route are the same as they were."""

    store: CacheStore = CacheStore.MEMORY  # where answers are kept
    ttl: Seconds = 7 * 86_400.0  # how long an answer is given again
    stale_for: SecondsOrNone = 86_400.0  # after ttl: given only where every deployment fails, and marked
    max_bytes: Bytes = ByteSize(256 << 20)  # of memory or file; a Redis has its own maxmemory
    path: Path | None = None  # of the file, where store is sqlite
    scope: CacheScope = CacheScope.CALLER  # who is given whose answers
    same_sound: bool = False  # after a miss, decode: the same samples in another file are the same audio
    sampled: bool = False  # also where temperature or do_sample ask for another answer each time

    @model_validator(mode="after")
    def _sqlite_is_a_file(self) -> Cache:
        if self.store is CacheStore.SQLITE and self.path is None:
            raise ValueError("cache.store is sqlite, but cache.path names no file")
        return self
