"""What models that write token after token have in common, apart from any of them."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import GenerationConfig

from providers.local.engine import Piece
from providers.local.hf.seq2seq import _filler, whole_piece
from providers.types import Segment, Timestamps, TranscriptionJob
from tests.conftest import sample_audio

JOB = TranscriptionJob(model="m", audio=sample_audio("jfk.flac"))


@pytest.mark.parametrize(
    ("pad", "end", "filler"), [(0, 3, 0), (None, 3, 3), (None, [4, 5], 4), (7, [4, 5], 7), (None, None, 0)]
)
def test_rows_are_filled_with_the_end_where_a_checkpoint_has_nothing_for_it(
    pad: int | None, end: int | list[int] | None, filler: int
) -> None:
    assert _filler(GenerationConfig(pad_token_id=pad, eos_token_id=end)) == filler


@pytest.mark.parametrize(
    ("timestamps", "text", "segments"),
    [
        (Timestamps.SEGMENT, "yes", (Segment(text="yes", start_s=0.0, end_s=2.0),)),
        (Timestamps.SEGMENT, "", ()),
        (Timestamps.NONE, "yes", ()),
    ],
)
def test_what_is_said_in_a_piece_is_a_segment_where_times_are_wanted(
    timestamps: Timestamps, text: str, segments: tuple[Segment, ...]
) -> None:
    job = TranscriptionJob(model="m", audio=JOB.audio, timestamps=timestamps)
    piece = Piece(job=job, samples=np.zeros(32_000, np.float32), start_s=7.0)

    heard = whole_piece(piece, text, "en", "name")

    assert (heard.text, heard.segments, heard.duration_s) == (text, segments, 2.0)
    assert (heard.language, heard.model_version) == ("en", "name")
