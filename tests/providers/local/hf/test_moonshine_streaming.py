"""Moonshine for streams, of random weights, heard piece by piece: it writes what transformers has it write."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from transformers import MoonshineStreamingProcessor

from providers.audio.samples import MODEL_RATE_HZ
from providers.local.engine import Piece, heard
from providers.local.hf.checkpoint import LoadOptions
from providers.local.hf.load import load
from providers.local.hf.moonshine import Moonshine
from providers.types import GENERATION_NAMES, GenerationParameters, Timestamps, TranscriptionJob
from tests.conftest import sample_audio
from tests.providers.local.hf import tiny_models

JOB = TranscriptionJob(model="m", audio=sample_audio("sb_spk2_snt1.flac"), timestamps=Timestamps.SEGMENT)


@cache
def moonshine() -> Moonshine:
    model = load(str(tiny_models.moonshine_streaming(Path(mkdtemp()))), LoadOptions(device="cpu"))
    assert isinstance(model, Moonshine)
    return model


def asking(**generation: Any) -> Piece:
    (piece,) = moonshine().pieces(JOB)
    return replace(piece, job=replace(JOB, generation=GenerationParameters(**generation)))


def said(*pieces: Piece) -> list[str]:
    torch.manual_seed(0)
    moonshine().check(pieces[0].job)
    return [each.text for each in moonshine().hear(pieces, lambda: False)]


@pytest.mark.parametrize("cut", [0, 1, 79])
@pytest.mark.parametrize("asked", [{"max_new_tokens": 20}, {"max_new_tokens": 12, "num_beams": 3}])
def test_writes_what_the_library_does(asked: dict[str, int], cut: int) -> None:
    """Frames are of 80 samples: what is left over is filled up, and hidden."""
    piece = asking(**asked)
    piece = replace(piece, samples=piece.samples[: len(piece.samples) - cut])
    checkpoint = moonshine()._checkpoint
    processor = MoonshineStreamingProcessor(checkpoint.features, checkpoint.tokenizer)
    inputs = processor([piece.samples], sampling_rate=MODEL_RATE_HZ)

    tokens = checkpoint.model.generate(**inputs, **asked, pad_token_id=0)

    assert said(piece) == [text.strip() for text in processor.batch_decode(tokens, skip_special_tokens=True)]
    assert said(piece) != [""]


@pytest.mark.parametrize(
    ("asked", "other", "same"),
    [
        ({"max_length": 6}, {"max_new_tokens": 5}, True),
        ({"do_sample": True, "top_k": 1}, {}, True),
        ({"do_sample": True}, {}, False),
        ({"num_beams": 4, "num_beam_groups": 2}, {"num_beams": 4}, False),
        ({"penalty_alpha": 0.6}, {}, False),
    ],
)
def test_the_parameters_reach_its_decoder(*, asked: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    assert (said(asking(**asked)) == said(asking(**other))) is same


def test_only_pieces_of_one_length_are_heard_together() -> None:
    piece = asking(max_new_tokens=10)
    other = replace(piece, samples=piece.samples[::-1].copy())

    assert moonshine().key(piece) == moonshine().key(other)
    assert said(piece, other) == said(piece) + said(other)


def test_does_nothing_without_a_cache() -> None:
    """The library's decoder would add positions to what it hears once more at each step."""
    can = moonshine().capabilities

    assert can.generation == frozenset(GENERATION_NAMES) - {"use_cache"}
    assert can.honours("use_cache", True)  # noqa: FBT003 - a value as it was given
    assert not can.honours("use_cache", False)  # noqa: FBT003 - as above
    assert can.timestamps == frozenset({Timestamps.SEGMENT})


def test_a_long_recording_is_heard_in_pieces() -> None:
    job = replace(JOB, audio=sample_audio("two_cities.flac"), generation=GenerationParameters(max_new_tokens=3))

    whole = heard(moonshine(), job)

    assert len(whole.segments) >= 5
    assert whole.duration_s == pytest.approx(44.4, abs=0.1)
