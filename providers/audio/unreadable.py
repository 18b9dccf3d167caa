"""What is found of a file, and why there is nothing: for those who decode none of it, and load no FFmpeg."""

from __future__ import annotations

from dataclasses import dataclass


class UnreadableAudio(ValueError):
    """The bytes are not audio that can be decoded; the message says what was seen. Safe to show."""


class AudioTooLong(ValueError):
    """More seconds, or more samples, than the caller of this module allows."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"the audio is longer than {limit_s:g} s")
        self.limit_s = limit_s


@dataclass(frozen=True, slots=True)
class Probed:
    """What a demuxer found without decoding."""

    duration_s: float | None
    rate_hz: int
    channels: int
