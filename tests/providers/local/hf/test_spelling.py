"""Words of word pieces, with the frames they were heard in."""

from __future__ import annotations

from transformers import ParakeetTokenizer

from providers.local.hf.spelling import Said, spelt, text_of
from tests.providers.local.hf import tiny_models

TOKENIZER = ParakeetTokenizer(tokenizer_object=tiny_models.word_pieces("<unk>"), unk_token="<unk>", pad_token="<pad>")
THE, OH, G, UNKNOWN = (TOKENIZER.convert_tokens_to_ids(token) for token in ("▁the", "o", "g", "<unk>"))


def test_a_word_begins_where_its_first_piece_says_so() -> None:
    said = [Said(THE, 1, 3), Said(OH, 4, 5), Said(THE, 9, 12), Said(THE, 12, 13), Said(G, 20, 24)]

    assert list(spelt(TOKENIZER, said)) == [("theo", 1, 5), ("the", 9, 12), ("theg", 12, 24)]
    assert text_of(TOKENIZER, said) == "theo the theg"


def test_the_middle_of_a_word_may_come_first_and_nothing_be_said() -> None:
    assert list(spelt(TOKENIZER, [Said(OH, 2, 3), Said(OH, 3, 4)])) == [("oo", 2, 4)]
    assert list(spelt(TOKENIZER, [])) == []
    assert text_of(TOKENIZER, []) == ""


def test_nobody_says_a_control_token() -> None:
    assert text_of(TOKENIZER, [Said(THE, 0, 1), Said(UNKNOWN, 1, 2)]) == "the"
