"""Diverse beam search: beams in groups, where a group pays for every token that an earlier one took at the same step.

Source: Vijayakumar et al. 2018, "Diverse Beam Search", algorithm 1; tokens as transformers 4.53 gave them, the last
release that had it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import torch

from providers.local.hf.decoder import Decoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Processors = Callable[[Tensor, Tensor], Tensor]

NEVER: Final = "never"
_IMPOSSIBLE: Final = -1e9  # the beams of a group begin equal: all but one are out at first


def group_beam_search(
    model: Any,  # noqa: ANN401 - the library has no types
    input_ids: Tensor,
    logits_processor: Processors,
    stopping_criteria: Callable[[Tensor, None], Tensor],
    generation_config: Any,  # noqa: ANN401 - as above
    *,
    num_beam_groups: int,
    diversity_penalty: float,
    **given: Any,  # noqa: ANN401 - as above
) -> Tensor:
    """Return (batch, length) tokens, the best of each input's beams; for `custom_generate` once two are bound.

    input_ids: (batch x num_beams, length). num_beam_groups: divides num_beams.
    diversity_penalty: in log-probability, of each time that an earlier group took the token.
    """
    decoder = Decoder(model, given)
    search = _Search(input_ids, generation_config, num_beam_groups, diversity_penalty)
    while True:
        rows = search.step(decoder(search.tokens).logits[:, -1].float(), logits_processor)
        decoder.follow(rows)
        if search.is_over or bool(stopping_criteria(search.tokens, None).all()):
            return search.best()


@dataclass(slots=True)
class _Pool:
    """What one group of an input has finished: the best so many, and whether it goes on."""

    room: int
    finished: list[tuple[float, Tensor]] = field(default_factory=list)  # score by length and tokens, the best first
    closed: bool = False

    def add(self, score: float, tokens: Tensor) -> None:
        self.finished.append((score, tokens))
        self.finished.sort(key=lambda each: -each[0])
        del self.finished[self.room :]

    def close_unless(self, attainable: float, *, at_once: bool) -> None:
        """Close when it is full and, unless at once, nothing better can come."""
        if len(self.finished) == self.room:
            self.closed = at_once or self.finished[-1][0] >= attainable


class _Search:
    """The beams of a batch: inputs by beams, the beams of a group side by side."""

    def __init__(self, tokens: Tensor, config: Any, groups: int, penalty: float) -> None:  # noqa: ANN401 - the library has no types
        self.tokens = tokens
        self._config = config
        self._beams: int = config.num_beams
        self._groups = groups
        self._penalty = penalty
        self._size = self._beams // groups
        self._batch = len(tokens) // self._beams
        self._start = tokens.shape[1]
        self._ends = set(torch.as_tensor(config.eos_token_id).reshape(-1).tolist())
        self._pad: int = config.pad_token_id
        self._scores = torch.full((self._batch, self._beams), _IMPOSSIBLE, device=tokens.device)
        self._scores[:, :: self._size] = 0
        self._pools = [[_Pool(self._size) for _ in range(groups)] for _ in range(self._batch)]

    @property
    def is_over(self) -> bool:
        return all(pool.closed for pools in self._pools for pool in pools)

    def step(self, logits: Tensor, processors: Processors) -> Tensor:
        """Add a token to every beam; return the row that each beam goes on from.

        logits: (batch x beams, vocabulary).
        """
        chances = torch.log_softmax(logits, -1).view(self._batch, self._beams, -1)
        parents = torch.arange(len(self.tokens), device=self.tokens.device).view(self._batch, -1)
        taken = torch.full_like(parents, self._pad)
        for group in range(self._groups):
            totals = self._totals(group, chances, taken, processors)
            best, places = totals.flatten(1).topk(2 * self._size, -1)  # so many may end here
            beams, tokens = places // totals.shape[-1] + group * self._size, places % totals.shape[-1]
            for number in range(self._batch):
                if not self._pools[number][group].closed:
                    ranked = list(
                        zip(best[number].tolist(), beams[number].tolist(), tokens[number].tolist(), strict=True)
                    )
                    self._extend(number, group, ranked, parents, taken)
        rows = parents.view(-1)
        self.tokens = torch.cat([self.tokens[rows], taken.view(-1, 1)], -1)
        return rows

    def _totals(self, group: int, chances: Tensor, taken: Tensor, processors: Processors) -> Tensor:
        """Return (batch, size, vocabulary): what each beam of the group would score with each token."""
        columns = slice(group * self._size, (group + 1) * self._size)
        tokens = self.tokens.view(self._batch, self._beams, -1)[:, columns].flatten(0, 1)
        processed = processors(tokens, chances[:, columns].flatten(0, 1)).view(self._batch, self._size, -1)
        earlier = taken[:, : columns.start]
        counts = torch.zeros_like(processed[:, 0]).scatter_add_(1, earlier, torch.ones_like(earlier, dtype=torch.float))
        return processed - self._penalty * counts[:, None] + self._scores[:, columns, None]

    def _extend(
        self, number: int, group: int, ranked: list[tuple[float, int, int]], parents: Tensor, taken: Tensor
    ) -> None:
        """Fill the group's beams of an input with the best that go on, its pool with the best that end.

        ranked: score, beam and token of the best candidates, the best first.
        """
        pool = self._pools[number][group]
        column, last = group * self._size, (group + 1) * self._size
        for rank, (score, beam, token) in enumerate(ranked):
            row = number * self._beams + beam
            if token in self._ends:
                if rank < self._size:  # an end that would not have been a beam is none
                    pool.add(score / self._norm(self._length), self.tokens[row])
            elif column < last:
                parents[number, column], taken[number, column], self._scores[number, column] = row, token, score
                column += 1
        early = self._config.early_stopping
        longest = self._config.max_length - self._start if early == NEVER else self._length
        pool.close_unless(ranked[0][0] / self._norm(longest), at_once=early is True)

    @property
    def _length(self) -> int:
        """Tokens of a beam beyond the prompt, with the one that this step adds."""
        return int(self.tokens.shape[1] + 1 - self._start)

    def _norm(self, length: int) -> float:
        return float(max(length, 1) ** self._config.length_penalty)

    def best(self) -> Tensor:
        """Return (batch, length) tokens, with the end that finished ones lack, and padded."""
        chosen = [max(self._all(number), key=lambda each: each[0])[1] for number in range(self._batch)]
        width = min(self._config.max_length, max(map(len, chosen)) + 1)
        whole = self.tokens.new_full((self._batch, width), self._pad)
        for row, tokens in zip(whole, chosen, strict=True):
            row[: len(tokens)] = tokens
            if len(tokens) < width:
                row[len(tokens)] = min(self._ends)
        return whole

    def _all(self, number: int) -> list[tuple[float, Tensor]]:
        """Return what an input's groups have finished, and the beams of those that were cut off."""
        norm = self._norm(self.tokens.shape[1] - self._start)
        found = [each for pool in self._pools[number] for each in pool.finished]
        cut_off = [beam for beam in range(self._beams) if not self._pools[number][beam // self._size].closed]
        scores, first = self._scores[number].tolist(), number * self._beams
        return [*found, *((scores[beam] / norm, self.tokens[first + beam]) for beam in cut_off)]
