"""Contrastive search gives the tokens of the library that had it."""

from __future__ import annotations

import pytest

from tests.golden import decoded, expected

# A token depends on those before it only: a whole transcript's first tokens are those of a shorter one.
MOST = 32
FILES = ["slushy.flac", "jfk.flac", "austen_0870.flac", "austen_0920.flac", "arctic_a0024.wav", "digits_8k.wav"]


@pytest.mark.parametrize("asked", [{"penalty_alpha": 0.6, "top_k": 4}, {"penalty_alpha": 0.8, "top_k": 8}])
def test_a_batch_is_decoded_as_by_the_reference(asked: dict[str, float]) -> None:
    """Some rows end long before others."""
    files = FILES[-24 // int(asked["top_k"]) :]
    found = decoded(files, max_new_tokens=MOST, **asked)
    assert found == [expected(name, asked)[:MOST] for name in files]


def test_a_row_alone_is_decoded_to_its_end() -> None:
    asked = {"penalty_alpha": 0.8, "top_k": 8}
    assert decoded(["arctic_a0024.wav"], **asked) == [expected("arctic_a0024.wav", asked)]


def test_one_candidate_is_the_likeliest_token() -> None:
    assert decoded(FILES[4:5], penalty_alpha=0.5, top_k=1) == [expected(FILES[4], {})]
