"""Where long audio is cut: nothing is lost, nothing is doubled, and no word is cut."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.audio.cuts import cut, quietest
from providers.audio.samples import MODEL_RATE_HZ, read_samples
from tests.conftest import sample_audio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from providers.audio.cuts import Block

RATE_HZ = 8000


def lengths(cuts: Sequence[tuple[Block, bool]]) -> list[int]:
    """Return the samples of each part."""
    numbers = [0, *accumulate(int(ends) for _, ends in cuts)]
    of_part = [0] * (numbers[-1] + 1)
    for number, (block, _) in zip(numbers, cuts, strict=False):
        of_part[number] += len(block)
    return [each for each in of_part if each]


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30_000), min_size=1, max_size=12),
    longest_s=st.floats(1.0, 60.0),
    is_float=st.booleans(),
)
def test_every_sample_comes_once_and_in_order(sizes: list[int], longest_s: float, *, is_float: bool) -> None:
    ramp = np.arange(sum(sizes)) % 20_000
    whole: Block = (ramp / 32_768).astype(np.float32) if is_float else ramp.astype(np.int16)
    blocks = np.split(whole, list(accumulate(sizes))[:-1])

    cuts = list(cut(blocks, RATE_HZ, longest_s))

    assert np.array_equal(np.concatenate([block for block, _ in cuts]), whole)
    assert max(lengths(cuts)) <= round(longest_s * RATE_HZ)
    assert cuts[-1][1] is False


def test_what_is_short_is_one_part() -> None:
    cuts = list(cut([np.zeros(RATE_HZ * 9, np.int16)], RATE_HZ, 10.0))

    assert lengths(cuts) == [RATE_HZ * 9]


@pytest.mark.parametrize("pause_s", [0.4, 1.5])
def test_a_cut_is_in_the_middle_of_the_longest_pause(pause_s: float) -> None:
    """Real speech, with a pause put between two sentences; its own pauses are shorter."""
    spoken = read_samples(sample_audio("jfk.flac").content, max_duration_s=60)[: 3 * MODEL_RATE_HZ]
    voiced = spoken[: int(2.2 * MODEL_RATE_HZ)]
    stretch = np.concatenate((voiced, np.zeros(int(pause_s * MODEL_RATE_HZ), np.float32), voiced))

    at_s = quietest(stretch, MODEL_RATE_HZ) / MODEL_RATE_HZ

    assert 2.2 - 0.3 <= at_s <= 2.2 + pause_s + 0.3


def test_of_equal_pauses_the_last_is_cut_and_silence_in_its_middle() -> None:
    assert quietest(np.zeros(RATE_HZ * 10, np.int16), RATE_HZ) == RATE_HZ * 5


def test_a_stretch_too_short_to_listen_to_is_halved() -> None:
    assert quietest(np.zeros(100, np.int16), RATE_HZ) == 50
