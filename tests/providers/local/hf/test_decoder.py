"""What the generic decoder gives, searched by the library itself: the ground that our own searches stand on."""

from __future__ import annotations

import pytest

from tests.golden import decoded, expected

FILES = ["jfk.flac", "austen_0870.flac", "arctic_a0024.wav"]
MOST = 30  # tokens looked at of those that the model was made to go on with to the end


def test_the_likeliest_token_each_time() -> None:
    files = [*FILES, "austen_0920.flac", "digits_8k.wav"]
    assert decoded(files) == [expected(name, {}) for name in files]


def test_beams() -> None:
    parameters = {"num_beams": 3, "early_stopping": True}
    assert decoded(FILES, **parameters) == [expected(name, parameters) for name in FILES]


def test_no_more_than_so_many_tokens() -> None:
    assert decoded(FILES, max_new_tokens=7) == [expected(name, {"max_new_tokens": 7}) for name in FILES]


def test_no_fewer_than_so_many_tokens() -> None:
    found = decoded(FILES, min_new_tokens=MOST, max_new_tokens=MOST)
    assert found == [expected(name, {"min_new_tokens": 60})[:MOST] for name in FILES]


@pytest.mark.parametrize("search", [{"penalty_alpha": 0.6, "top_k": 4}, {"num_beams": 4, "num_beam_groups": 2}])
def test_a_search_of_ours_ends_where_it_is_told_to(search: dict[str, float]) -> None:
    (found,) = decoded(FILES[:1], max_new_tokens=5, **search)
    assert len(found) == 5


def test_groups_without_a_cache_are_the_same_groups() -> None:
    asked = {"num_beams": 4, "num_beam_groups": 2, "max_new_tokens": 6}
    assert decoded(FILES[2:], **asked, use_cache=False) == decoded(FILES[2:], **asked)
