"""An ear that hears two people, for emulators that make out who said what."""

from __future__ import annotations

from typing import Final

from providers.types import Segment, Transcript, Word

TURNS: Final = [("Hi there.", 0.5, 2.0, None), ("Oh no.", 2.0, 4.0, None)]
"""Text, beginning, end and speaker of what is said."""
_HEARD: Final = Transcript(
    text="Hi there. Oh no.",
    segments=tuple(Segment(text=text, start_s=start_s, end_s=end_s) for text, start_s, end_s, _ in TURNS),
    words=(
        Word(text="Hi", start_s=0.5, end_s=1.0),
        Word(text="there.", start_s=1.0, end_s=2.0),
        Word(text="Oh", start_s=2.5, end_s=3.0),
        Word(text="no.", start_s=3.0, end_s=4.0),
    ),
    language="en",
    duration_s=4.0,
)


class TwoTurns:
    """Hears two sentences in anything, and remembers what it was asked: language, whether to translate, prompt."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, bool, str | None]] = []

    async def hear(
        self, audio: bytes, *, language: str | None = None, translate: bool = False, prompt: str | None = None
    ) -> Transcript:
        del audio
        self.asked.append((language, translate, prompt))
        return _HEARD
