"""What is done with audio that is longer, or larger, than a model's targets take."""

from __future__ import annotations

from pydantic import Field

from config.section import Section
from config.units import Seconds


class LongAudio(Section):
    """Cut at pauses into parts, which are asked for side by side and joined. Not where speakers are told apart."""

    split: bool = True  # no: the audio is refused
    part: Seconds = Field(600.0, ge=20)  # the longest part; shorter where the targets take less
    parallel: int = Field(4, ge=1, le=64)  # parts of one recording that are asked for at once


AS_USUAL = LongAudio()
