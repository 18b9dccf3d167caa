"""How hard the gateway tries: retries, breakers, hedges, queues. Each default is what most operators should keep."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field

from config.section import Section
from config.units import Seconds, SecondsOrNone, seconds

_QUANTILE: Final = re.compile(r"p\d\d")


class Strategy(StrEnum):
    """Which of a model's targets is asked first."""

    FAILOVER = "failover"  # as listed
    WEIGHTED = "weighted"  # at random, in proportion to their weights
    FASTEST = "fastest"  # of two drawn at random, the one that has lately been faster
    CHEAPEST = "cheapest"  # by what this audio would cost there
    LEAST_LOADED = "least_loaded"  # the fewest jobs for its weight: our own calls, and others' where an engine tells


class Allowance(Section):
    """A time that grows with the audio: base + per_audio_second x duration, at most max."""

    base: Seconds  # whatever the length
    per_audio_second: float = Field(0.5, ge=0, le=100)  # seconds more for each second of audio
    max: Seconds = 7200.0  # however long the audio


class Deadline(Allowance):
    """How long a job may take in all."""

    base: Seconds = 120.0  # whatever the length


class SlowCall(Allowance):
    """From when on a call counts as slow."""

    base: Seconds = 60.0  # whatever the length


class Retries(Section):
    """Asking the same deployment again, when no other can be asked."""

    limit: int = Field(2, ge=0, le=10)  # for one job and deployment, after its first attempt
    base: Seconds = 0.25  # the first wait is a random part of this, each further one of twice as much
    cap: Seconds = 15.0  # no wait is longer, whatever a provider asks for
    budget: float = Field(0.2, ge=0, le=1)  # retries in proportion to requests, so that an outage is not amplified
    floor: float = Field(3, ge=0, le=1000)  # so many at once besides; they come back within some ten seconds


class Breakers(Section):
    """When a deployment is left alone, and for how long. After that one request at a time finds out."""

    consecutive: int = Field(5, ge=1, le=100_000)  # failures in a row
    failure_rate: float = Field(0.5, gt=0, le=1)  # of the window's calls
    slow_rate: float = Field(0.8, gt=0, le=1)  # of the window's calls
    slow_call: SlowCall = SlowCall()
    min_calls: int = Field(20, ge=1, le=100_000)  # within the window, before a rate means anything
    window: Seconds = 30.0  # how far back the rates look
    probe_after: Seconds = 5.0  # from when on one request may find out whether it is well again
    rate_limited: Seconds = 5.0  # where the provider does not say for how long
    park_max: Seconds = 300.0  # however long it says; also for refused credentials and exhausted quotas


class Hedging(Section):
    """A second attempt racing a slow first one, where a route has hedge_after."""

    budget: float = Field(0.1, ge=0, le=1)  # hedges in proportion to requests
    floor: float = Field(2, ge=0, le=1000)  # so many at once besides; they come back within some ten seconds


class Queue(Section):
    """Requests that wait for a deployment whose max_concurrent is reached, when no other is free."""

    max_waiting: int | None = Field(None, ge=0, le=100_000)  # None: half of the deployments' max_concurrent
    max_wait: SecondsOrNone = 10.0  # then 429; 0: nobody waits


class Reliability(Section):
    """For every model alike."""

    retries: Retries = Retries()
    breakers: Breakers = Breakers()
    hedging: Hedging = Hedging()
    queue: Queue = Queue()
    attempt_timeout: Allowance | None = None  # None: half of the time left, where another target could still be asked
    doubt_empty: bool = True  # ask one other target where a text is empty and a voice is heard in the audio
    # Send half a second of silence to targets that nobody called for so long, and as soon as one that was left alone
    # may be asked again: billed as the provider bills it, in each worker. None: requests alone tell how targets are.
    check_every: Seconds | None = None


def _hedge_after(value: object) -> object:
    if value is None or value is False or value == "off":  # YAML reads off as False
        return None
    if isinstance(value, str) and _QUANTILE.fullmatch(value):
        return value
    return seconds(value)


def _sane_quantile(value: str | float | None) -> str | float | None:
    if isinstance(value, str) and not 50 <= int(value[1:]) <= 99:
        raise ValueError("a quantile is p50 to p99")
    if isinstance(value, float) and value <= 0:
        raise ValueError("a duration is more than nothing")
    return value


HedgeAfter = Annotated[str | float | None, BeforeValidator(_hedge_after), AfterValidator(_sane_quantile)]
"""p95 (of the deployment's lately, for audio of that length), a duration in seconds, or None for off."""
