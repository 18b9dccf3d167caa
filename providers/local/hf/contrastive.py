"""Contrastive search: of the likeliest tokens the one that repeats least of what was said.

Source: Su et al. 2022, "A Contrastive Framework for Neural Text Generation", section 4.2; tokens as transformers 4.53
gave them, the last release that had it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import normalize

from providers.local.hf.decoder import Decoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def contrastive_search(
    model: Any,  # noqa: ANN401 - the library has no types
    input_ids: Tensor,
    logits_processor: Callable[[Tensor, Tensor], Tensor],
    stopping_criteria: Callable[[Tensor, None], Tensor],
    generation_config: Any,  # noqa: ANN401 - as above
    *,
    penalty_alpha: float,
    candidates: int,
    **given: Any,  # noqa: ANN401 - as above
) -> Tensor:
    """Return (batch, length) tokens; for `custom_generate` once the last two are bound.

    penalty_alpha: 0 to 1, how much repeating weighs against likelihood. candidates: of each step, of each row.
    """
    batch = input_ids.shape[0]
    decoder = Decoder(model, {**given, "use_cache": True}, hidden_states=True)
    heard = decoder(input_ids)
    said, logits = heard.decoder_hidden_states[-1], heard.logits[:, -1].float()
    first_of = torch.arange(batch, device=input_ids.device) * candidates
    spread = torch.arange(batch, device=input_ids.device).repeat_interleave(candidates)
    decoder.spread(spread)  # a row for each candidate, from here on
    alive = torch.ones(batch, dtype=torch.bool, device=input_ids.device)
    while bool(alive.any()):
        chances, tokens = logits_processor(input_ids, logits).softmax(-1).topk(candidates, -1)
        heard = decoder(torch.cat([input_ids[spread], tokens.reshape(-1, 1)], -1))
        hidden = heard.decoder_hidden_states[-1][:, -1:]
        repeated = _likeness(said[spread], hidden).view(batch, candidates)
        choice = ((1 - penalty_alpha) * chances - penalty_alpha * repeated).argmax(-1)
        rows = first_of + choice
        decoder.follow(rows.repeat_interleave(candidates))
        said, logits = torch.cat([said, hidden[rows]], 1), heard.logits[rows, -1].float()
        chosen = tokens.gather(1, choice[:, None])
        chosen[~alive] = generation_config.pad_token_id
        input_ids = torch.cat([input_ids, chosen], -1)
        alive &= ~stopping_criteria(input_ids, None)
    return input_ids


def _likeness(said: Tensor, hidden: Tensor) -> Tensor:
    """Return the largest cosine between each row's new state, (rows, 1, width), and its earlier ones."""
    cosines = normalize(said.float(), dim=-1) @ normalize(hidden.float(), dim=-1).transpose(1, 2)
    return cosines.squeeze(-1).amax(-1)
