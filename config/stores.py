"""Where shared state lives."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from config.section import Section
from config.units import Seconds


def _redis_url(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("a Redis URL begins with redis://, rediss:// or unix://")
    return url


RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]  # it may hold a password


class Redis(Section):
    """The server that replicas share. Where it is gone, each falls back to its own memory and keeps serving."""

    url: RedisUrl = SecretStr("redis://localhost:6379/0")  # redis://, rediss:// or unix://, with its password
    timeout: Seconds = 0.1  # to connect, and for each command: what a request waits for a server that hangs
    max_connections: int = Field(64, ge=1, le=10_000)  # of each process
    prefix: str = Field("asr:", pattern=r"^[\w:.-]+$", max_length=64)  # of every key
