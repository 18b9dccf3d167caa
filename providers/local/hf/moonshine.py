"""Moonshine: a small encoder and decoder over raw samples, of one language, quick on a CPU; as it was, and for streams.

Source: Jeffries et al. 2024, "Moonshine: Speech Recognition for Live Transcription and Voice Commands"; transformers
5.24 `MoonshineForConditionalGeneration`, `MoonshineStreamingForConditionalGeneration`, and their authors' model cards
for how many tokens to let them write.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import torch

from providers.audio.samples import MODEL_RATE_HZ
from providers.local.engine import Abandoned
from providers.local.hf import generation
from providers.local.hf.inputs import features_of
from providers.local.hf.interrupts import memory_watched
from providers.local.hf.rows import most_rows, size_bytes
from providers.local.hf.seq2seq import row_bytes, whole_piece, written
from providers.local.windows import WINDOW_S, windows
from providers.types import GENERATION_NAMES, Capabilities, Timestamps

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from providers.local.engine import Piece
    from providers.local.hf.checkpoint import Checkpoint, LoadOptions
    from providers.types import Transcript, TranscriptionJob

MAX_DURATION_S: Final = 4 * 3600.0
_POSITIONS: Final = 30 * MODEL_RATE_HZ // 384 + 194  # of a piece, heard and said
_STREAMING_POSITIONS: Final = 30 * MODEL_RATE_HZ // 320 + 390
_STREAMING: Final = "moonshine_streaming"
_INEXACT_STREAMING: Final = frozenset({"use_cache"})
"""Its decoder adds positions to what was heard once more at each step, of which only a cache keeps nothing."""
_SEGMENT_S: Final = 10.0
"""Where times are wanted pieces are this short, for they are all the times there are."""
_TOKENS_A_SECOND: Final = 13.0
"""What nobody speaks faster than: without an end it repeats itself. 6.5 are enough for English, not for Chinese."""


class Moonshine:
    """One loaded model."""

    workers = 1  # several would only compete for the device

    def __init__(self, checkpoint: Checkpoint, options: LoadOptions) -> None:
        self._checkpoint = checkpoint
        self._config = checkpoint.model.config
        self._streaming = self._config.model_type == _STREAMING
        self._language = options.language
        self.max_rows = options.max_rows or most_rows(checkpoint.model, self._row_bytes())
        self.size_bytes = size_bytes(checkpoint.model)

    @cached_property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            generation=frozenset(GENERATION_NAMES) - (_INEXACT_STREAMING if self._streaming else frozenset()),
            timestamps=frozenset({Timestamps.SEGMENT}),
            languages=frozenset({self._language}) if self._language else None,
            language_hint=False,
            max_duration_s=MAX_DURATION_S,
        )

    def check(self, job: TranscriptionJob) -> None:
        """Refuse what cannot be done as asked. Raises JobUnsupported."""
        generation.check(job.generation, self._room)

    def pieces(self, job: TranscriptionJob) -> Iterator[Piece]:
        """Yield the utterance in pieces. Raises UnreadableAudio, AudioTooLong."""
        longest_s = WINDOW_S if job.timestamps is Timestamps.NONE else _SEGMENT_S
        return windows(job, max_duration_s=MAX_DURATION_S, longest_s=longest_s)

    def key(self, piece: Piece) -> Hashable:
        """Tell which pieces may be heard together: those of one length. Most first layers are normalised over time."""
        return piece.job.generation, len(piece.samples)

    def rows(self, piece: Piece) -> int:
        """Return the rows of a batch that a piece takes."""
        return generation.rows(piece.job.generation)

    def hear(self, pieces: Sequence[Piece], is_abandoned: Callable[[], bool]) -> list[Transcript]:
        """Return what was said in each. Raises OutOfMemory, Abandoned."""
        if is_abandoned():
            raise Abandoned
        checkpoint = self._checkpoint
        with memory_watched(), torch.inference_mode():
            inputs = features_of(checkpoint, [piece.samples for piece in pieces], **self._padding())
            prompts = [[self._first_token()]] * len(pieces)
            texts = written(checkpoint, inputs, prompts, self._keywords(pieces[0]), is_abandoned)
        return [
            whole_piece(piece, text, self._language, checkpoint.name) for piece, text in zip(pieces, texts, strict=True)
        ]

    def close(self) -> None:
        """Let go of the model."""
        self._checkpoint = None  # type: ignore[assignment] # nothing is asked any more
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()

    def _row_bytes(self) -> int:
        if self._streaming:
            return row_bytes(self._checkpoint.model, self._config.num_hidden_layers, _STREAMING_POSITIONS)
        return row_bytes(self._checkpoint.model, self._config.decoder_num_hidden_layers, _POSITIONS)

    def _padding(self) -> dict[str, int]:
        """Return how samples are filled up: to whole frames, where they are not heard as they come."""
        if not self._streaming:
            return {}
        encoder = self._config.encoder_config
        return {"pad_to_multiple_of": round(encoder.sample_rate * encoder.frame_ms / 1000)}

    def _first_token(self) -> int:
        start, begin = self._config.decoder_start_token_id, self._config.bos_token_id
        return int(begin if start is None else start)

    @property
    def _room(self) -> generation.Room:
        return generation.Room(prompt=1, most=self._config.max_position_embeddings)

    def _keywords(self, piece: Piece) -> dict[str, Any]:
        found = generation.keywords(piece.job.generation, self._room)
        if piece.job.generation.max_new_tokens is None and piece.job.generation.max_length is None:
            said = math.ceil(piece.duration_s * _TOKENS_A_SECOND)
            found["max_new_tokens"] = min(self._room.new, max(said, found["min_new_tokens"]))
        return found
