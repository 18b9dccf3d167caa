"""Encoder and decoder: what all models share that write token after token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationMixin

from providers.local.hf.interrupts import Waiting
from providers.types import Segment, Timestamps, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from providers.local.engine import Piece
    from providers.local.hf.checkpoint import Checkpoint


def written(
    checkpoint: Checkpoint,
    inputs: Mapping[str, Tensor],
    prompts: Sequence[Sequence[int]],
    keywords: Mapping[str, Any],
    is_abandoned: Callable[[], bool],
) -> list[str]:
    """Return the text of each row. Raises Abandoned, at the next token.

    prompts: (rows, length) token ids that each row's decoder begins with. keywords: of generation.
    """
    tokens = GenerationMixin.generate(  # a model's own may know better than the parameters
        checkpoint.model,
        **inputs,
        decoder_input_ids=torch.tensor(prompts, device=checkpoint.model.device),
        stopping_criteria=[Waiting(is_abandoned)],
        pad_token_id=_filler(checkpoint.model.generation_config),
        **keywords,
    )
    return [text.strip() for text in checkpoint.tokenizer.batch_decode(tokens, skip_special_tokens=True)]


def _filler(config: Any) -> int:  # noqa: ANN401 - the library has no types
    """Return the token that fills up rows: the end, where a checkpoint has none for it."""
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    return next((each for each in (config.pad_token_id, *ends) if each is not None), 0)


def whole_piece(piece: Piece, text: str, language: str | None, name: str) -> Transcript:
    """Return the transcript of a model that tells no times: a piece is cut at pauses, and is one segment."""
    duration_s = piece.duration_s
    timed = piece.job.timestamps is not Timestamps.NONE and text
    return Transcript(
        text=text,
        segments=(Segment(text=text, start_s=0.0, end_s=duration_s),) if timed else (),
        language=language,
        duration_s=duration_s,
        model_version=name,
    )


def row_bytes(model: Any, layers: int, positions: int) -> int:  # noqa: ANN401 - the library has no types
    """Return what a row takes while it is written: keys and values of all that is heard and said, and its logits.

    positions: of the encoder's output and of the decoder, together.
    """
    cached: int = 2 * layers * positions * model.config.hidden_size * model.dtype.itemsize
    logits: int = 4 * 4 * model.config.vocab_size
    return 2 * cached + logits  # twice: while a cache is reordered there are two
