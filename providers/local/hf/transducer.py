"""Models that name a token, or none, and how far to go on (RNN-T, TDT): Parakeet and Nemotron of transformers.

A small network reads what was said so far beside each frame, always the most likely: there is nothing to generate with,
no prompt, and no language to choose. Source: Graves 2012 (RNN-T), Xu et al. 2023 (TDT); transformers 5.24
`ParakeetForTDT`, and its `ParakeetProcessor.decode` for the frames of a token.
"""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import torch

from providers.audio.samples import MODEL_RATE_HZ
from providers.local.engine import Abandoned
from providers.local.hf.inputs import features_of
from providers.local.hf.interrupts import Waiting, memory_watched
from providers.local.hf.rows import most_rows, size_bytes
from providers.local.hf.spelling import Said, spelt, text_of
from providers.local.windows import windows
from providers.sentences import as_asked
from providers.spans import word
from providers.types import Capabilities, Timestamps, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from providers.local.engine import Piece
    from providers.local.hf.checkpoint import Checkpoint, LoadOptions
    from providers.types import TranscriptionJob

MAX_DURATION_S: Final = 4 * 3600.0
_ROW_BYTES: Final = 200_000_000
_DURATIONS: Final = "parakeet_tdt"
"""Says how long a token is; the others only whether to go on."""
_POINTS: Final = frozenset("?'¡¿-:,%/.!")
"""Take no time of their own where durations are known."""


class Transducer:
    """One loaded model."""

    workers = 1  # several would only compete for the device

    def __init__(self, checkpoint: Checkpoint, options: LoadOptions) -> None:
        self._checkpoint = checkpoint
        self._config = checkpoint.model.config
        self._unheard = {self._config.blank_token_id, *checkpoint.tokenizer.all_special_ids}
        self._language = options.language
        self.max_rows = options.max_rows or most_rows(checkpoint.model, _ROW_BYTES)
        self.size_bytes = size_bytes(checkpoint.model)

    @cached_property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
            languages=frozenset({self._language}) if self._language else None,
            language_hint=False,
            max_duration_s=MAX_DURATION_S,
        )

    def check(self, job: TranscriptionJob) -> None:
        """Refuse nothing: what planning lets through has no wish that could fail here."""

    def pieces(self, job: TranscriptionJob) -> Iterator[Piece]:
        """Yield the utterance in pieces. Raises UnreadableAudio, AudioTooLong."""
        return windows(job, max_duration_s=MAX_DURATION_S)

    def key(self, piece: Piece) -> Hashable:
        """Let any pieces be heard together: a mask hides the padding."""
        del piece
        return None

    def rows(self, piece: Piece) -> int:
        del piece
        return 1

    def hear(self, pieces: Sequence[Piece], is_abandoned: Callable[[], bool]) -> list[Transcript]:
        """Return what was said in each. Raises OutOfMemory, Abandoned."""
        if is_abandoned():
            raise Abandoned
        with memory_watched(), torch.inference_mode():
            said = self._said(pieces, Waiting(is_abandoned))
        return [self._transcript(piece, each) for piece, each in zip(pieces, said, strict=True)]

    def close(self) -> None:
        """Let go of the model."""
        self._checkpoint = None  # type: ignore[assignment] # nothing is asked any more
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()

    def _said(self, pieces: Sequence[Piece], waiting: Waiting) -> list[list[Said]]:
        """Return the tokens of each, without blanks. Raises Abandoned, at the next token."""
        inputs = features_of(self._checkpoint, [piece.samples for piece in pieces])
        model = self._checkpoint.model
        frames = model.encoder._get_subsampling_output_length(inputs["attention_mask"].sum(-1)).tolist()  # noqa: SLF001 - nothing public says it
        found = model.generate(
            **inputs,
            **self._keywords(),
            max_length=self._most(max(frames)),
            stopping_criteria=[waiting],
        )
        rows = zip(found.sequences.tolist(), found.durations.tolist(), frames, strict=True)
        return [list(self._emitted(*row)) for row in rows]

    def _keywords(self) -> dict[str, Any]:
        """Return what a checkpoint may not say of its own accord: the first token, and which outputs are no tokens."""
        config = self._config
        lengths = len(config.durations) if config.model_type == _DURATIONS else 0
        ahead = getattr(
            config.encoder_config, "default_num_lookahead_tokens", None
        )  # of models that were made for streams
        return {
            **({} if ahead is None else {"num_lookahead_tokens": ahead}),
            "decoder_start_token_id": config.blank_token_id,
            "suppress_tokens": [config.vocab_size + each for each in range(lengths)] or None,
            "num_beams": 1,
            "do_sample": False,
        }

    def _emitted(self, tokens: Sequence[int], steps: Sequence[int], frames: int) -> Iterator[Said]:
        """Yield what was said in a row's own frames.

        The library goes on beyond them while other rows of the batch have not come to their end.
        """
        last: int | None = None
        starts = accumulate(steps, initial=0)
        for token, frame, step in list(zip(tokens, starts, steps, strict=False))[: self._most(frames)]:
            if frame >= frames:
                return
            if token in self._unheard:
                continue
            first, last = (
                (frame, frame + self._span(step)) if last is None or not self._is_point(token) else (last, last)
            )
            yield Said(token, first, last)

    def _most(self, frames: int) -> int:
        """Return how many tokens so many frames can have, the one before them all counted."""
        return 1 + int(self._config.max_symbols_per_step) * frames

    def _span(self, step: int) -> int:
        return step if self._config.model_type == _DURATIONS else 1

    def _is_point(self, token: int) -> bool:
        said = self._checkpoint.tokenizer.convert_ids_to_tokens(token)
        return self._config.model_type == _DURATIONS and said in _POINTS

    def _transcript(self, piece: Piece, said: Sequence[Said]) -> Transcript:
        duration_s, frame_s = piece.duration_s, self._frame_s
        tokenizer = self._checkpoint.tokenizer
        words = (
            word(text, min(first * frame_s, duration_s), min(end * frame_s, duration_s))
            for text, first, end in spelt(tokenizer, said)
            if text.strip()
        )
        heard = Transcript(
            text=text_of(tokenizer, said).strip(),
            words=tuple(words),
            language=self._language,
            duration_s=duration_s,
            model_version=self._checkpoint.name,
        )
        return as_asked(heard, piece.job)

    @property
    def _frame_s(self) -> float:
        """What a frame is of, in seconds."""
        hop = self._checkpoint.features.hop_length * self._config.encoder_config.subsampling_factor
        return float(hop / MODEL_RATE_HZ)
