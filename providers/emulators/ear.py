"""What an emulated service hears: a real transcription, or a digest that tells whether the right bytes arrived."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from blake3 import blake3

from providers.audio.containers import identify, media_type
from providers.audio.content import MemoryContent
from providers.audio.decode import frames
from providers.audio.unreadable import UnreadableAudio
from providers.local.engine import heard
from providers.types import Audio, Segment, Task, Timestamps, Transcript, TranscriptionJob, Word

if TYPE_CHECKING:
    from providers.local.engine import Engine
    from providers.types import Container

MAX_HEARD_S = 4 * 3600.0


class Ear(Protocol):
    """Hears a whole file. Raises UnreadableAudio.

    Always gives segments, words and the duration; the emulator leaves out what its service would.
    """

    async def hear(
        self, audio: bytes, *, language: str | None = None, translate: bool = False, prompt: str | None = None
    ) -> Transcript: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulation:
    """How an emulator is set up."""

    ear: Ear
    key: str = "emulated-key"  # the one credential it accepts
    job_s: float = 0.2  # how long a job of a polled service takes at least


class DigestEar:
    """Hears `blake3 <hex>` over the whole duration, after decoding the file as the real service would."""

    async def hear(
        self, audio: bytes, *, language: str | None = None, translate: bool = False, prompt: str | None = None
    ) -> Transcript:
        del translate, prompt
        duration_s = await asyncio.to_thread(_decoded_s, audio)
        text = f"blake3 {blake3(audio).hexdigest()}"
        return Transcript(
            text=text,
            segments=(Segment(text=text, start_s=0.0, end_s=duration_s),),
            words=tuple(Word(text=word, start_s=0.0, end_s=duration_s) for word in text.split()),
            language=language or "en",
            duration_s=duration_s,
        )


class LocalEar:
    """Hears with a real local model, such as `FasterWhisper(...)`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def hear(
        self, audio: bytes, *, language: str | None = None, translate: bool = False, prompt: str | None = None
    ) -> Transcript:
        job = TranscriptionJob(
            model="",
            audio=as_audio(audio),
            language=language,
            prompt=prompt,
            task=Task.TRANSLATE if translate else Task.TRANSCRIBE,
            timestamps=Timestamps.WORD,
        )
        return await asyncio.to_thread(heard, self._engine, job)


def as_audio(content: bytes) -> Audio:
    """Make the Audio of a few bytes in memory, labelled by what they are."""
    container = container_of(content)
    return Audio(
        content=MemoryContent(content),
        media_type=media_type(container),
        container=container,
        duration_s=None,
        digest=blake3(content).hexdigest(),
    )


def container_of(content: bytes) -> Container | None:
    """Tell the container from the bytes, as a careful service would."""
    return identify(MemoryContent(content))


def _decoded_s(audio: bytes) -> float:
    if not audio:
        raise UnreadableAudio("no bytes")
    return sum(frame.samples / frame.sample_rate for frame in frames(MemoryContent(audio), max_duration_s=MAX_HEARD_S))
