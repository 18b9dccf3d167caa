"""How much may be asked for: rates, places and budgets, for everybody together, for each key and for each model."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from config.section import Section


class Limits(Section):
    """One scope's numbers; None: as much as is wanted.

    A rate that was not used saves up to one window's worth. Budgets are of days and months by UTC.
    """

    requests_per_minute: int | None = Field(None, ge=1, le=10_000_000)  # a minute's worth may come at once
    audio_seconds_per_minute: int | None = Field(None, ge=1, le=1_000_000_000)  # charged when a job is admitted
    audio_seconds_per_hour: int | None = Field(None, ge=1, le=1_000_000_000)  # likewise
    audio_seconds_per_day: int | None = Field(None, ge=1, le=1_000_000_000)  # likewise
    concurrent: int | None = Field(None, ge=1, le=100_000)  # requests at once
    usd_per_day: float | None = Field(None, gt=0, le=1e9)  # by UTC; estimated beforehand, and settled by what it cost
    usd_per_month: float | None = Field(None, gt=0, le=1e9)  # likewise

    @property
    def is_set(self) -> bool:
        """Tell whether it limits anything."""
        return any(getattr(self, name) is not None for name in Limits.model_fields)

    @property
    def has_budget(self) -> bool:
        return self.usd_per_day is not None or self.usd_per_month is not None


UNLIMITED = Limits()


class LimitStore(StrEnum):
    """Where it is counted."""

    MEMORY = "memory"  # of this process; forgotten when it ends, but for budgets, which the usage ledger knows
    REDIS = "redis"  # for all that share it


class WhenLost(StrEnum):
    """What becomes of a caller with a budget while nobody can say what is left of it."""

    CLOSED = "closed"  # refused: never free spend
    OPEN = "open"  # served, within this process's part of the budget


class GatewayLimits(Limits):
    """For everybody together, and how limits are kept."""

    store: LimitStore = LimitStore.MEMORY  # where it is counted
    when_lost: WhenLost = WhenLost.CLOSED  # for budgets; rates and places fall back to this process's part of them
