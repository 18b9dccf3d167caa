"""Models that name a letter for each frame (CTC): wav2vec2, HuBERT, WavLM, Parakeet, and others of transformers.

One pass over the samples and no decoding loop: there is nothing to generate with, no prompt, and no language to choose.
Times are those of the frames that the letters were heard in. Source: Graves et al. 2006 (CTC); the rules for padding
are those of `Wav2Vec2FeatureExtractor`, transformers 5.24.
"""

from __future__ import annotations

from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import torch

from providers.audio.samples import MODEL_RATE_HZ
from providers.local.engine import Abandoned
from providers.local.hf.inputs import features_of
from providers.local.hf.interrupts import memory_watched
from providers.local.hf.rows import most_rows, size_bytes
from providers.local.hf.spelling import Said, spelt
from providers.local.models import ModelMissing
from providers.local.windows import windows
from providers.sentences import as_asked
from providers.spans import word
from providers.types import Capabilities, Timestamps, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from providers.local.engine import Piece
    from providers.local.hf.checkpoint import Checkpoint, LoadOptions
    from providers.types import TranscriptionJob, Word

MAX_DURATION_S: Final = 4 * 3600.0
_FIRST_FRAMES: Final = 30 * MODEL_RATE_HZ // 5
"""Of a piece, beyond the first layer of a model of raw samples: 30 s take wav2vec2-large 640 MB on a CPU."""
_LEAST_ROW_BYTES: Final = 200_000_000
_ROWS_ON_A_CPU: Final = 4
_PADDED: Final = frozenset({"wav2vec2", "hubert", "parakeet_ctc"})
"""Give a row padded under a mask the very letters that they give it alone: those for which a test shows it."""


class Ctc:
    """One loaded model."""

    workers = 1  # several would only compete for the device

    def __init__(self, checkpoint: Checkpoint, options: LoadOptions) -> None:
        """Take a loaded model. Raises ModelMissing where it was never trained to write."""
        self._checkpoint = checkpoint
        self._config = checkpoint.model.config
        _check_trained(checkpoint)
        self._pads = _pads(checkpoint)
        self._unheard = _unheard(checkpoint.tokenizer)
        self._language = options.language
        self.max_rows = options.max_rows or _most_rows(checkpoint.model)
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

    def key(self, piece: Piece) -> int | None:
        """Tell which pieces may be heard together: any, or those of one length where padding would change the letters.

        A first layer that is normalised over time ("group") hears the padding too, and was trained without a mask.
        """
        return None if self._pads else len(piece.samples)

    def rows(self, piece: Piece) -> int:
        del piece
        return 1

    def hear(self, pieces: Sequence[Piece], is_abandoned: Callable[[], bool]) -> list[Transcript]:
        """Return what was said in each. Raises OutOfMemory, Abandoned."""
        if is_abandoned():
            raise Abandoned
        with memory_watched(), torch.inference_mode():
            letters, counts = self._letters(pieces)
        return [
            self._transcript(piece, ids[:count])
            for piece, ids, count in zip(pieces, letters.tolist(), counts, strict=True)
        ]

    def close(self) -> None:
        """Let go of the model."""
        self._checkpoint = None  # type: ignore[assignment] # nothing is asked any more
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()

    def _letters(self, pieces: Sequence[Piece]) -> tuple[torch.Tensor, list[int]]:
        """Return (rows, frames) token ids, and how many frames of each row are no padding."""
        model = self._checkpoint.model
        inputs = features_of(self._checkpoint, [piece.samples for piece in pieces])
        if not self._pads and "input_values" in inputs:  # all of one length: a mask would say nothing
            inputs.pop("attention_mask", None)
        logits = model(**inputs).logits
        logits[..., self._unheard] = -torch.inf
        return logits.argmax(-1).cpu(), self._frames(inputs.get("attention_mask"), logits.shape)

    def _frames(self, mask: torch.Tensor | None, shape: torch.Size) -> list[int]:
        rows, frames, _ = shape
        if mask is None or not self._pads:
            return [frames] * rows
        model = self._checkpoint.model
        heard = mask.sum(-1).cpu()
        if hasattr(model, "_get_subsampling_output_length"):
            return list(model._get_subsampling_output_length(heard).tolist())  # noqa: SLF001 - nothing public says it
        return list(model._get_feat_extract_output_lengths(heard).tolist())  # noqa: SLF001 - as above

    def _transcript(self, piece: Piece, ids: Sequence[int]) -> Transcript:
        duration_s = piece.duration_s
        frame_s = self._frame_s(duration_s, len(ids))
        text, spelt = self._spelt(ids)
        heard = Transcript(
            text=text,
            words=tuple(_words(spelt, frame_s, duration_s)),
            language=self._language,
            duration_s=duration_s,
            model_version=self._checkpoint.name,
        )
        return as_asked(heard, piece.job)

    def _frame_s(self, duration_s: float, frames: int) -> float:
        """Return what a frame is of, in seconds."""
        if self._config.model_type == "parakeet_ctc":
            hop = self._checkpoint.features.hop_length * self._config.encoder_config.subsampling_factor
            return float(hop / MODEL_RATE_HZ)
        if self._checkpoint.features.model_input_names[0] == "input_values":
            return float(self._config.inputs_to_logits_ratio / MODEL_RATE_HZ)
        return duration_s / max(1, frames)

    def _spelt(self, ids: Sequence[int]) -> tuple[str, Iterable[tuple[str, int, int]]]:
        """Return the text, and each word with its first frame and the one after its last."""
        tokenizer = self._checkpoint.tokenizer
        if not hasattr(tokenizer, "word_delimiter_token"):
            return str(tokenizer.decode(ids)), list(spelt(tokenizer, _of_pieces(tokenizer, ids)))
        decoded = tokenizer.decode(ids, output_word_offsets=True)
        words = ((each["word"], int(each["start_offset"]), int(each["end_offset"])) for each in decoded.word_offsets)
        return decoded.text, [(_cased(tokenizer, text), start, end) for text, start, end in words]


def _check_trained(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint without a last layer, for which the library would draw one by lot. Raises ModelMissing."""
    made_as = checkpoint.model.config.architectures or []
    if not any(name.endswith("ForCTC") for name in made_as):
        raise ModelMissing(
            f"{checkpoint.name} was saved as {', '.join(made_as) or 'nothing'}, which writes nothing down: "
            "name a checkpoint that was trained to, one ...ForCTC"
        )


def _most_rows(model: Any) -> int:  # noqa: ANN401 - the library has no types
    """Return how many rows a batch may have: what they take first is the most that they take."""
    channels = model.config.conv_dim[0] if hasattr(model.config, "conv_dim") else 0
    row_bytes = max(_LEAST_ROW_BYTES, 3 * channels * _FIRST_FRAMES * model.dtype.itemsize)
    most = most_rows(model, row_bytes)
    return min(most, _ROWS_ON_A_CPU) if model.device.type == "cpu" else most


def _pads(checkpoint: Checkpoint) -> bool:
    """Tell whether rows of different lengths may share a batch."""
    config, features = checkpoint.model.config, checkpoint.features
    return (
        config.model_type in _PADDED
        and getattr(config, "feat_extract_norm", "layer") == "layer"
        and ("input_features" in features.model_input_names or bool(features.return_attention_mask))
    )


def _unheard(tokenizer: Any) -> list[int]:  # noqa: ANN401 - the library has no types
    """Return the ids that are neither letters, nor the blank, nor the space: nobody says them.

    Left out before the letters are read: the library's own way to leave them out takes the blanks first, and with them
    the second of every double letter.
    """
    kept = {tokenizer.pad_token_id, getattr(tokenizer, "word_delimiter_token_id", None)}
    return sorted(set(tokenizer.all_special_ids) - kept)


def _of_pieces(tokenizer: Any, ids: Sequence[int]) -> Iterator[Said]:  # noqa: ANN401 - as above
    """Yield the tokens of a vocabulary of word pieces, without the blanks between them."""
    at = 0
    for token, run in groupby(ids):
        start, at = at, at + len(list(run))
        if token != tokenizer.pad_token_id:
            yield Said(token, start, at)


def _cased(tokenizer: Any, text: str) -> str:  # noqa: ANN401 - as above
    """Write a word as the whole text is written: the library does so with the text alone."""
    return text.lower() if tokenizer.do_lower_case else text


def _words(spelt: Iterable[tuple[str, int, int]], frame_s: float, duration_s: float) -> Iterator[Word]:
    for text, start, end in spelt:
        if text.strip():
            yield word(text, min(start * frame_s, duration_s), min(end * frame_s, duration_s))
