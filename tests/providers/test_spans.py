"""Times as services give them become times within the audio, in order."""

from __future__ import annotations

import pytest

from providers.spans import segment, whole, word


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0.5, 1.0, (0.5, 1.0)),
        (None, 1.0, (0.0, 1.0)),
        (-0.2, 1.0, (0.0, 1.0)),
        (2.0, 1.0, (2.0, 2.0)),
        (2.0, None, (2.0, None)),  # open: the end of the audio
    ],
)
def test_a_segment_begins_in_the_audio_and_ends_no_sooner(
    start: float | None, end: float | None, expected: tuple[float, float | None]
) -> None:
    made = segment("hello", start, end, "A")

    assert (made.text, made.start_s, made.end_s, made.speaker) == ("hello", *expected, "A")


def test_an_open_word_closes_at_its_beginning() -> None:
    assert (word("hi", 2.0, None).start_s, word("hi", 2.0, None).end_s) == (2.0, 2.0)
    assert (word("hi", None, 0.4).start_s, word("hi", -1.0, 0.4).end_s) == (0.0, 0.4)


def test_a_word_stands_without_the_space_around_it() -> None:
    assert word(" hello ", 0, 1).text == "hello"


@pytest.mark.parametrize(("given", "kept"), [(0.0, 0.0), (1.0, 1.0), (0.5, 0.5), (-0.1, None), (1.1, None)])
def test_a_confidence_is_from_0_to_1_or_none(given: float, kept: float | None) -> None:
    assert word("hi", 0, 1, confidence=given).confidence == kept


def test_pieces_that_belong_to_a_word_lengthen_it() -> None:
    pieces = [
        (word("Good", 0.0, 0.4, confidence=0.9), False),
        (word("morn", 0.5, 0.8, speaker="A"), False),
        (word("ing", 0.8, 1.0), True),
        (word(".", None, None), True),
    ]

    assert whole(pieces) == (
        word("Good", 0.0, 0.4, confidence=0.9),
        word("morning.", 0.5, 1.0, speaker="A"),
    )
    assert whole([(word(".", 0.0, 0.1), True)]) == (word(".", 0.0, 0.1),)
