"""Words of tokens that were each heard in some frames, in a vocabulary of word pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_BEGINS_A_WORD: Final = "\u2581"  # SentencePiece's space


class Said(NamedTuple):
    """A token, the first frame it was heard in, and the one after its last."""

    token: int
    first: int
    end: int


def spelt(tokenizer: Any, said: Iterable[Said]) -> Iterator[tuple[str, int, int]]:  # noqa: ANN401 - the library has no types
    """Yield each word with its first frame and the one after its last."""
    kept: list[Said] = []
    for each in said:
        if kept and str(tokenizer.convert_ids_to_tokens(each.token)).startswith(_BEGINS_A_WORD):
            yield text_of(tokenizer, kept), kept[0].first, kept[-1].end
            kept = []
        kept.append(each)
    if kept:
        yield text_of(tokenizer, kept), kept[0].first, kept[-1].end


def text_of(tokenizer: Any, said: Sequence[Said]) -> str:  # noqa: ANN401 - as above
    """Return what the tokens say together; one that comes twice was said twice."""
    tokens = [each.token for each in said]
    return str(tokenizer.decode(tokens, group_tokens=False, skip_special_tokens=True))
