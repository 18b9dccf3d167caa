"""One step of a model's decoder at a time, for searches that transformers no longer has.

Source: transformers 5.24 `GenerationMixin.generate(custom_generate=...)`: what a search is given. The library's own
helpers for a step are private and change between releases, so the model is called directly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


_OF_THE_AUDIO: Final = ("last_hidden_state", "attention_mask")
"""Of an encoder's output, what a decoder reads. The mask is there where the encoder squeezes what it hears."""


class Decoder:
    """A model's decoder over encoded audio, with the cache of what it has read. Rows may be repeated and followed."""

    def __init__(self, model: Any, given: Mapping[str, Any], *, hidden_states: bool = False) -> None:  # noqa: ANN401 - the library has no types
        """given: what `generate` hands to a search beside the tokens. hidden_states: whether they are asked for."""
        self._model = model
        self._encoded = given["encoder_outputs"]
        self._mask: Tensor | None = given.get("attention_mask")
        self._use_cache = given.get("use_cache") is not False
        self._cache: Any = given.get("cache")
        self._read = 0  # tokens of each row that are in the cache
        self._hidden_states = hidden_states

    def __call__(self, tokens: Tensor) -> Any:  # noqa: ANN401 - the library has no types
        """Read what is new of (rows, length) tokens; return the model's output for it."""
        heard = self._model(
            encoder_outputs=self._encoded,
            attention_mask=self._mask,
            decoder_input_ids=tokens[:, self._read :],
            cache=self._cache if self._use_cache else None,
            use_cache=self._use_cache,
            output_hidden_states=self._hidden_states,
            return_dict=True,
        )
        if self._use_cache:
            self._cache, self._read = heard.cache, tokens.shape[1]
        return heard

    def spread(self, rows: Tensor) -> None:
        """Go on with these rows, of which some may be there several times."""
        if self._use_cache:
            self._cache.reorder_cache(rows)
        kept = {name: each for name in _OF_THE_AUDIO if (each := self._encoded.get(name)) is not None}
        self._encoded = type(self._encoded)(**{name: each[rows] for name, each in kept.items()})
        self._mask = None if self._mask is None else self._mask[rows]

    def follow(self, rows: Tensor) -> None:
        """Go on from these rows, each in place of one that hears the same audio: of that nothing is moved."""
        if self._use_cache:
            self._cache.self_attention_cache.reorder_cache(rows)
