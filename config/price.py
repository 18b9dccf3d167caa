"""What an operator pays, where it is not what the catalog lists."""

from __future__ import annotations

from pydantic import Field, model_validator

from config.section import Section
from config.units import SecondsOrNone

_MOST_USD = 1000  # more is a slip of the decimal point


class Price(Section):
    """The audio's length, at least `minimum` and rounded up to `step`, at a rate; and something for the call itself."""

    usd_per_minute: float | None = Field(None, ge=0, le=_MOST_USD)  # of audio; 0 where it is free
    usd_per_second: float | None = Field(None, ge=0, le=_MOST_USD)  # instead of usd_per_minute
    usd_per_request: float = Field(0.0, ge=0, le=_MOST_USD)  # for each call
    minimum: SecondsOrNone = 0.0  # what less audio is billed as
    step: SecondsOrNone = 0.0  # what is begun of it is billed whole; 0: billed exactly

    @model_validator(mode="after")
    def _one_rate(self) -> Price:
        if self.usd_per_minute is not None and self.usd_per_second is not None:
            raise ValueError("usd_per_minute and usd_per_second exclude each other")
        if self.usd_per_minute is None and self.usd_per_second is None and not self.usd_per_request:
            raise ValueError("a price has usd_per_minute, usd_per_second or usd_per_request; 0 where it is free")
        return self

    @property
    def rate_usd_per_minute(self) -> float:
        """Return the rate, whichever way it was written."""
        return self.usd_per_minute if self.usd_per_minute is not None else (self.usd_per_second or 0.0) * 60
