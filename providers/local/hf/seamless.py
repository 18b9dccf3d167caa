"""SeamlessM4T, versions 1 and 2: speech in a hundred languages to text in the language that is asked for.

It cannot tell which language it hears, and need not: asked for another it translates. Source: Seamless Communication
et al. 2023; transformers 5.24 `SeamlessM4Tv2ForSpeechToText`. Its weights are CC-BY-NC-4.0: see `licences`.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import torch

from providers.errors import JobUnsupported
from providers.languages import code_of
from providers.local.engine import Abandoned
from providers.local.hf import generation
from providers.local.hf.inputs import features_of
from providers.local.hf.interrupts import memory_watched
from providers.local.hf.own_codes import by_code
from providers.local.hf.rows import most_rows, size_bytes
from providers.local.hf.seq2seq import row_bytes, whole_piece, written
from providers.local.models import ModelMissing
from providers.local.provider import NAME
from providers.local.windows import WINDOW_S, windows
from providers.types import GENERATION_NAMES, Capabilities, Task, Timestamps

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    from providers.local.engine import Piece
    from providers.local.hf.checkpoint import Checkpoint, LoadOptions
    from providers.types import Transcript, TranscriptionJob

MAX_DURATION_S: Final = 4 * 3600.0
ENGLISH: Final = "en"
_SEGMENT_S: Final = 10.0
"""Where times are wanted pieces are this short, for they are all the times there are."""
_DEFAULT_NEW_TOKENS: Final = 256
"""Of a piece, where neither the job nor the checkpoint says: its own generation_config does."""
_FRAMES_A_SECOND: Final = 100
_POSITIONS: Final = 512  # of a piece: 190 are heard in 30 s, and 256 said where nobody asks for more
_SAMPLES_A_SECOND: Final = 16_000


class Seamless:
    """One loaded model."""

    workers = 1  # several would only compete for the device

    def __init__(self, checkpoint: Checkpoint, options: LoadOptions) -> None:
        """Take a loaded model. Raises ModelMissing where it does not know the language set for jobs that name none."""
        self._checkpoint = checkpoint
        self._defaults = checkpoint.model.generation_config
        self._languages = by_code(self._defaults.text_decoder_lang_to_code_id)
        self._otherwise = options.language
        if options.language and options.language not in self._languages:
            raise ModelMissing(f"{checkpoint.name} does not know {options.language!r}, the language set for it")
        self.max_rows = options.max_rows or most_rows(
            checkpoint.model, row_bytes(checkpoint.model, checkpoint.model.config.decoder_layers, _POSITIONS)
        )
        self.size_bytes = size_bytes(checkpoint.model)

    @cached_property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            generation=frozenset(GENERATION_NAMES),
            timestamps=frozenset({Timestamps.SEGMENT}),
            tasks=frozenset(Task),
            languages=frozenset(self._languages),
            max_duration_s=MAX_DURATION_S,
        )

    def check(self, job: TranscriptionJob) -> None:
        """Refuse what cannot be done as asked. Raises JobUnsupported."""
        if job.task is Task.TRANSCRIBE:
            self._asked_for(job)
        generation.check(job.generation, self._room)

    def pieces(self, job: TranscriptionJob) -> Iterator[Piece]:
        """Yield the utterance in pieces. Raises UnreadableAudio, AudioTooLong."""
        longest_s = WINDOW_S if job.timestamps is Timestamps.NONE else _SEGMENT_S
        return windows(job, max_duration_s=MAX_DURATION_S, longest_s=longest_s)

    def key(self, piece: Piece) -> Hashable:
        """Tell which pieces may be heard together: those that fill up to the same second.

        The encoder's last convolution looks a little beyond a row's end, mask or no mask. So every piece is filled up,
        alone too, and what is heard in it does not depend on who else is heard. Languages may differ.
        """
        return piece.job.generation, -(-len(piece.samples) // _SAMPLES_A_SECOND)

    def rows(self, piece: Piece) -> int:
        """Return the rows of a batch that a piece takes."""
        return generation.rows(piece.job.generation)

    def hear(self, pieces: Sequence[Piece], is_abandoned: Callable[[], bool]) -> list[Transcript]:
        """Return what was said in each, in the language asked for. Raises OutOfMemory, Abandoned."""
        if is_abandoned():
            raise Abandoned
        checkpoint = self._checkpoint
        languages = [self._written_in(piece) for piece in pieces]
        with memory_watched(), torch.inference_mode():
            samples = [piece.samples for piece in pieces]
            inputs = features_of(checkpoint, samples, pad_to_multiple_of=_FRAMES_A_SECOND)
            prompts = [self._prompt(language) for language in languages]
            texts = written(checkpoint, inputs, prompts, self._keywords(pieces[0].job), is_abandoned)
        return [
            whole_piece(piece, text, code_of(language) or language, checkpoint.name)
            for piece, text, language in zip(pieces, texts, languages, strict=True)
        ]

    def close(self) -> None:
        """Let go of the model."""
        self._checkpoint = None  # type: ignore[assignment] # nothing is asked any more
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()

    @property
    def _room(self) -> generation.Room:
        # Two tokens of the prompt. The library would go on beyond the last position without a word.
        return generation.Room(prompt=2, most=self._checkpoint.model.config.max_position_embeddings)

    def _written_in(self, piece: Piece) -> str:
        return ENGLISH if piece.job.task is Task.TRANSLATE else self._asked_for(piece.job)

    def _asked_for(self, job: TranscriptionJob) -> str:
        """Return the language to write in. Raises JobUnsupported."""
        language = job.language or self._otherwise
        if language is None:
            raise JobUnsupported(
                NAME, "this model cannot tell which language is spoken: give the language, the one to write in"
            )
        if language not in self._languages:
            raise JobUnsupported(NAME, f"this model does not write {language!r}")
        return language

    def _prompt(self, language: str) -> list[int]:
        codes: Mapping[str, int] = self._defaults.text_decoder_lang_to_code_id
        return [self._defaults.decoder_start_token_id, codes[self._languages[language]]]

    def _keywords(self, job: TranscriptionJob) -> dict[str, Any]:
        found = generation.keywords(job.generation, self._room)
        if job.generation.max_new_tokens is None and job.generation.max_length is None:
            usual = self._defaults.max_new_tokens or _DEFAULT_NEW_TOKENS
            found["max_new_tokens"] = max(usual, found["min_new_tokens"])
        return found
