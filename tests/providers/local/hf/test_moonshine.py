"""Moonshine of random weights: the generic decoder over raw samples."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import torch
from msgspec.structs import replace

from providers.audio.samples import MODEL_RATE_HZ
from providers.errors import JobUnsupported
from providers.local.engine import Abandoned, Piece
from providers.local.hf.checkpoint import LoadOptions
from providers.local.hf.load import load
from providers.local.hf.moonshine import Moonshine
from providers.types import GenerationParameters, Task, Timestamps, Transcript, TranscriptionJob
from tests.conftest import sample_audio
from tests.providers.local.hf import tiny_models

JOB = TranscriptionJob(model="m", audio=sample_audio("sb_spk2_snt1.flac"), timestamps=Timestamps.SEGMENT)
FOUR_BEAMS = {"num_beams": 4}


@cache
def folder() -> Path:
    return tiny_models.moonshine(Path(mkdtemp()))


@cache
def moonshine() -> Moonshine:
    model = load(str(folder()), LoadOptions(device="cpu"))
    assert isinstance(model, Moonshine)
    return model


@cache
def whole() -> Piece:
    (piece,) = moonshine().pieces(JOB)
    return piece


def asking(**generation: Any) -> Piece:
    return replace(whole(), job=replace(JOB, generation=GenerationParameters(**generation)))


def hear(*pieces: Piece) -> list[Transcript]:
    torch.manual_seed(0)
    return moonshine().hear(pieces, lambda: False)


@cache
def said(**generation: Any) -> str:
    moonshine().check(asking(**generation).job)
    return hear(asking(**generation))[0].text


@pytest.mark.parametrize(
    ("asked", "other", "same"),
    [
        ({"max_new_tokens": 5}, {}, False),
        ({"max_length": 6}, {"max_new_tokens": 5}, True),
        ({"min_new_tokens": 40}, {}, False),
        ({"do_sample": True}, {}, False),
        ({"do_sample": True, "top_k": 1}, {}, True),
        (FOUR_BEAMS, {}, False),
        ({**FOUR_BEAMS, "num_beam_groups": 2}, FOUR_BEAMS, False),
        ({"penalty_alpha": 0.6}, {}, False),
        ({"use_cache": False}, {}, True),
    ],
)
def test_the_parameters_reach_its_decoder(*, asked: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    assert (said(**asked) == said(**other)) is same


def test_writes_no_more_than_can_be_said() -> None:
    """Two seconds are 27 tokens at most: it would repeat itself up to its 194th position."""
    assert moonshine()._keywords(asking())["max_new_tokens"] == 27
    assert moonshine()._keywords(asking(min_new_tokens=40))["max_new_tokens"] == 40
    assert moonshine()._keywords(asking(max_new_tokens=100))["max_new_tokens"] == 100
    with pytest.raises(JobUnsupported, match="max_new_tokens is at most 193"):
        moonshine().check(asking(max_new_tokens=194).job)


def test_only_pieces_of_one_length_are_heard_together() -> None:
    """Its first layer is normalised over time, the padding too."""
    piece = asking(max_new_tokens=10)
    other = replace(piece, samples=piece.samples[::-1].copy())
    shorter = replace(piece, samples=piece.samples[:-1])
    assert moonshine().key(piece) == moonshine().key(other) != moonshine().key(shorter)

    assert hear(piece, other) == hear(piece) + hear(other)


def test_a_piece_is_a_segment() -> None:
    (heard,) = hear(asking())

    (segment,) = heard.segments
    assert (segment.text, segment.start_s, segment.end_s) == (heard.text, 0.0, len(whole().samples) / MODEL_RATE_HZ)


def test_tells_what_it_can_do() -> None:
    can = moonshine().capabilities

    assert can.tasks == {Task.TRANSCRIBE}
    assert can.timestamps == {Timestamps.SEGMENT}
    assert not can.language_hint
    assert moonshine().rows(asking(num_beams=3)) == 3


def test_the_language_is_what_the_operator_says() -> None:
    japanese = load(str(folder()), LoadOptions(device="cpu", language="ja"))

    assert japanese.capabilities.languages == frozenset({"ja"})
    assert japanese.hear([asking()], lambda: False)[0].language == "ja"
    assert hear(asking())[0].language is None


def test_a_batch_that_nobody_waits_for_stops() -> None:
    with pytest.raises(Abandoned):
        moonshine().hear([asking()], lambda: True)
