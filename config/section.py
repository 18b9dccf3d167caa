"""The base of every part of the configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Unknown keys are refused, and nothing changes after the start."""

    model_config = ConfigDict(extra="forbid", frozen=True)
