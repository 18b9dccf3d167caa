"""When each word was said: from what the decoder looked at in the audio while it wrote the word.

Source: openai/whisper v20240930 `timing.py` (`find_alignment`): the text is read once more, and the cross attention of
the checkpoint's alignment heads is followed by dynamic time warping. It so works after every search and every draw;
transformers' own times need the attention of the search itself, which beams and searches of one's own do not leave.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers.models.whisper.generation_whisper import _dynamic_time_warping, _median_filter
from transformers.models.whisper.tokenization_whisper import _combine_tokens_into_words

from providers.languages import NAMES
from providers.local.hf.whisper_tokens import TIMESTAMP_STEP_S
from providers.types import Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from providers.local.hf.checkpoint import Checkpoint


def words(
    checkpoint: Checkpoint,
    encoded: Tensor,
    prompts: Sequence[list[int]],
    texts: Sequence[list[int]],
    durations_s: Sequence[float],
    languages: Sequence[str | None],
) -> list[tuple[Word, ...]]:
    """Return the words of each text.

    encoded: (batch, positions, width), the encoder's output. prompts: all of one length, ending before the text.
    texts: tokens of text alone.
    """
    model, end = checkpoint.model, checkpoint.model.generation_config.eos_token_id
    # One that repeats itself to the last position has none left for its end.
    most = model.config.max_target_positions - len(prompts[0]) - 1
    texts = [text[:most] for text in texts]
    longest = max(map(len, texts))
    whole = [[*prompt, *text, *[end] * (longest + 1 - len(text))] for prompt, text in zip(prompts, texts, strict=True)]
    with _attention_shown(model):
        read = model(
            encoder_outputs=(encoded,),
            decoder_input_ids=torch.tensor(whole, device=model.device),
            output_attentions=True,
            use_cache=False,
            return_dict=True,
        )
    heads = model.generation_config.alignment_heads
    looked = torch.stack([read.cross_attentions[layer][:, head] for layer, head in heads], dim=1).float()
    found = []
    for row, text in enumerate(texts):
        at = slice(len(prompts[row]) - 1, len(prompts[row]) + len(text))  # where each token, and the end, is foretold
        chances = read.logits[row, at].float().softmax(-1)[range(len(text)), text].tolist()
        times_s = _times_s(looked[row, :, at], durations_s[row], model.config.median_filter_width)
        found.append(tuple(_words(checkpoint.tokenizer, text, chances, times_s, languages[row])) if text else ())
    return found


@contextmanager
def _attention_shown(model: Any) -> Iterator[None]:  # noqa: ANN401 - the library has no types
    """Let the model compute its attention in the open: the fused kernels do not give it."""
    before = model.config._attn_implementation  # noqa: SLF001 - there is no public name to read it by
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _times_s(looked: Tensor, duration_s: float, filter_width: int) -> list[float]:
    """Return when each token begins, and when the last one ends.

    looked: (heads, tokens + 1, positions), each position 0.02 s of audio.
    """
    positions = max(1, min(round(duration_s / TIMESTAMP_STEP_S), looked.shape[-1]))
    seen = looked[..., :positions]
    spread = seen.std(dim=-2, keepdim=True, unbiased=False).clamp_min(1e-6)  # one token alone does not spread
    even = _median_filter((seen - seen.mean(dim=-2, keepdim=True)) / spread, filter_width)
    tokens, times = _dynamic_time_warping(-even.mean(dim=0).double().cpu().numpy())
    first = np.pad(np.diff(tokens), (1, 0), constant_values=1).astype(bool)
    return [min(round(float(each) * TIMESTAMP_STEP_S, 2), duration_s) for each in times[first]]


def _words(
    tokenizer: Any,  # noqa: ANN401 - the library has no types
    text: list[int],
    chances: list[float],
    times_s: list[float],
    language: str | None,
) -> Iterator[Word]:
    spelled, _, places = _combine_tokens_into_words(tokenizer, text, NAMES.get(language or "en"))
    for word, at in zip(spelled, places, strict=True):
        if word.strip():
            yield Word(
                text=word.strip(),
                start_s=times_s[at[0]],
                end_s=max(times_s[at[0]], times_s[at[-1] + 1]),
                confidence=sum(chances[each] for each in at) / len(at),
            )
