"""Cohere Transcribe: a FastConformer and a decoder that is told which of fourteen languages it hears, with punctuation.

It cannot tell the language itself. Source: transformers 5.24 `CohereAsrForConditionalGeneration`, and its
`CohereAsrProcessor` for the prompt.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import torch
from transformers import CohereAsrProcessor
from transformers.models.cohere_asr.processing_cohere_asr import LANGUAGES

from providers.errors import JobUnsupported
from providers.local.engine import Abandoned
from providers.local.hf import generation
from providers.local.hf.inputs import features_of
from providers.local.hf.interrupts import memory_watched
from providers.local.hf.rows import most_rows, size_bytes
from providers.local.hf.seq2seq import row_bytes, whole_piece, written
from providers.local.models import ModelMissing
from providers.local.provider import NAME
from providers.local.windows import WINDOW_S, windows
from providers.types import GENERATION_NAMES, Capabilities, Timestamps

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from providers.local.engine import Piece
    from providers.local.hf.checkpoint import Checkpoint, LoadOptions
    from providers.types import Transcript, TranscriptionJob

MAX_DURATION_S: Final = 4 * 3600.0
_SEGMENT_S: Final = 10.0
"""Where times are wanted pieces are this short, for they are all the times there are."""
_DEFAULT_NEW_TOKENS: Final = 256
"""Of a piece, where neither the job nor the checkpoint says."""
_POSITIONS: Final = 375 + _DEFAULT_NEW_TOKENS  # of a piece of 30 s, heard and said


class Cohere:
    """One loaded model."""

    workers = 1  # several would only compete for the device

    def __init__(self, checkpoint: Checkpoint, options: LoadOptions) -> None:
        """Take a loaded model. Raises ModelMissing where it does not know the language set for jobs that name none."""
        self._checkpoint = checkpoint
        self._config = checkpoint.model.config
        self._processor = CohereAsrProcessor(checkpoint.features, checkpoint.tokenizer)
        self._otherwise = options.language
        if options.language and options.language not in LANGUAGES:
            raise ModelMissing(f"{checkpoint.name} does not know {options.language!r}, the language set for it")
        row = row_bytes(checkpoint.model, self._config.num_hidden_layers, _POSITIONS)
        self.max_rows = options.max_rows or most_rows(checkpoint.model, row)
        self.size_bytes = size_bytes(checkpoint.model)

    @cached_property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            generation=frozenset(GENERATION_NAMES),
            timestamps=frozenset({Timestamps.SEGMENT}),
            languages=frozenset(LANGUAGES),
            max_duration_s=MAX_DURATION_S,
        )

    def check(self, job: TranscriptionJob) -> None:
        """Refuse what cannot be done as asked. Raises JobUnsupported."""
        self._spoken(job.language)
        generation.check(job.generation, self._room)

    def pieces(self, job: TranscriptionJob) -> Iterator[Piece]:
        """Yield the utterance in pieces. Raises UnreadableAudio, AudioTooLong."""
        longest_s = self._longest_s if job.timestamps is Timestamps.NONE else _SEGMENT_S
        return windows(job, max_duration_s=MAX_DURATION_S, longest_s=longest_s)

    def key(self, piece: Piece) -> Hashable:
        """Tell which pieces may be heard together: any of one configuration. Languages may differ."""
        return piece.job.generation

    def rows(self, piece: Piece) -> int:
        """Return the rows of a batch that a piece takes."""
        return generation.rows(piece.job.generation)

    def hear(self, pieces: Sequence[Piece], is_abandoned: Callable[[], bool]) -> list[Transcript]:
        """Return what was said in each. Raises OutOfMemory, Abandoned."""
        if is_abandoned():
            raise Abandoned
        checkpoint = self._checkpoint
        languages = [self._spoken(piece.language) for piece in pieces]
        with memory_watched(), torch.inference_mode():
            inputs = features_of(checkpoint, [piece.samples for piece in pieces])
            prompts = [self._processor.get_decoder_prompt_ids(language) for language in languages]
            texts = written(checkpoint, inputs, prompts, self._keywords(pieces[0].job), is_abandoned)
        return [
            whole_piece(piece, text, language, checkpoint.name)
            for piece, text, language in zip(pieces, texts, languages, strict=True)
        ]

    def close(self) -> None:
        """Let go of the model."""
        self._checkpoint = None  # type: ignore[assignment] # nothing is asked any more
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()

    @property
    def _longest_s(self) -> float:
        """What its features are not cut up anew for, with overlaps."""
        features = self._checkpoint.features
        return min(WINDOW_S, float(features.max_audio_clip_s - features.overlap_chunk_second))

    @property
    def _room(self) -> generation.Room:
        prompt = self._processor.get_decoder_prompt_ids("en")  # of one length for all languages
        return generation.Room(prompt=len(prompt), most=self._config.max_position_embeddings)

    def _spoken(self, language: str | None) -> str:
        """Return the language to tell the model. Raises JobUnsupported."""
        wanted = language or self._otherwise
        if wanted is None:
            raise JobUnsupported(NAME, "this model cannot tell which language is spoken: give the language")
        if wanted not in LANGUAGES:
            raise JobUnsupported(NAME, f"this model does not hear {wanted!r}")
        return wanted

    def _keywords(self, job: TranscriptionJob) -> dict[str, Any]:
        found = generation.keywords(job.generation, self._room)
        if job.generation.max_new_tokens is None and job.generation.max_length is None:
            usual = self._checkpoint.model.generation_config.max_new_tokens or _DEFAULT_NEW_TOKENS
            found["max_new_tokens"] = min(self._room.new, max(usual, found["min_new_tokens"]))
        return found
