"""Transducers of random weights: they say what transformers says of the same samples, alone and in company."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from transformers import ParakeetProcessor

from providers.audio.samples import MODEL_RATE_HZ
from providers.local.engine import Abandoned, Piece, heard, hears_languages
from providers.local.hf.checkpoint import LoadOptions
from providers.local.hf.load import load
from providers.local.hf.transducer import Transducer
from providers.types import Task, Timestamps, Transcript, TranscriptionJob
from tests.conftest import sample_audio
from tests.providers.local.hf import tiny_models

SHORT = TranscriptionJob(model="m", audio=sample_audio("sb_spk2_snt1.flac"), timestamps=Timestamps.WORD)
LONG = replace(SHORT, audio=sample_audio("jfk.flac"))
LONGEST = replace(SHORT, audio=sample_audio("two_cities.flac"))  # 44 s
TDT, RNNT, NEMOTRON = "parakeet_tdt", "parakeet_rnnt", "nemotron_asr_streaming"
each_kind = pytest.mark.parametrize("kind", [TDT, RNNT, NEMOTRON])


@cache
def folder(kind: str) -> Path:
    return tiny_models.transducer(Path(mkdtemp()), kind)


@cache
def engine(kind: str) -> Transducer:
    model = load(str(folder(kind)), LoadOptions(device="cpu"))
    assert isinstance(model, Transducer)
    return model


def hear(model: Transducer, *pieces: Piece) -> list[Transcript]:
    return model.hear(pieces, lambda: False)


def piece_of(model: Transducer, job: TranscriptionJob) -> Piece:
    (piece,) = (each for each in model.pieces(job) if not each.silent)
    return piece


def of_the_library(kind: str, piece: Piece) -> tuple[str, list[dict[str, Any]]]:
    """Return text and tokens, as the library's own documentation has it."""
    checkpoint = engine(kind)._checkpoint
    config = checkpoint.model.config
    processor = ParakeetProcessor(
        checkpoint.features, checkpoint.tokenizer, decoder_type="tdt" if kind == TDT else "rnnt"
    )
    found = checkpoint.model.generate(
        **checkpoint.features([piece.samples], sampling_rate=MODEL_RATE_HZ, return_tensors="pt"),
        decoder_start_token_id=config.blank_token_id,
        max_length=1000,
        suppress_tokens=[config.vocab_size + each for each in range(5)] if kind == TDT else None,
    )
    texts, tokens = processor.decode(found.sequences, durations=found.durations, skip_special_tokens=True)
    return texts[0], tokens[0]


def words_of(tokens: list[dict[str, Any]], duration_s: float) -> Iterator[tuple[str, Any, Any]]:
    """Yield the words that tokens make up, from their first one's start to their last one's end."""
    begins = [at for at, each in enumerate(tokens) if at == 0 or each["token"].startswith(" ")]
    for begin, end in pairwise([*begins, len(tokens)]):
        text = "".join(each["token"] for each in tokens[begin:end]).strip()
        if text:
            yield text, pytest.approx(tokens[begin]["start"]), pytest.approx(min(tokens[end - 1]["end"], duration_s))


@each_kind
def test_says_what_the_library_says_at_the_times_it_says(kind: str) -> None:
    piece = piece_of(engine(kind), SHORT)
    text, tokens = of_the_library(kind, piece)

    (said,) = hear(engine(kind), piece)

    assert said.text == text.strip()
    assert len(set(said.text)) > 3
    assert [(each.text, each.start_s, each.end_s) for each in said.words] == list(words_of(tokens, piece.duration_s))
    assert [each.text for each in said.words] == said.text.split()


@each_kind
def test_a_row_is_heard_as_it_is_alone(kind: str) -> None:
    """The library goes on with a row that is at its end until all are."""
    model = engine(kind)
    short, long = piece_of(model, SHORT), piece_of(model, LONG)
    assert model.key(short) == model.key(long)

    together = hear(model, short, long, short)

    assert together == hear(model, short) + hear(model, long) + hear(model, short)
    assert together[0].text != together[1].text
    assert together[0].words[-1].start_s < 2.01


def test_a_point_takes_no_time_where_durations_are_known() -> None:
    """The question mark would be in frame 4, and two frames long."""
    model = engine(TDT)
    the, point = model._checkpoint.tokenizer.convert_tokens_to_ids(["▁the", "?"])
    blank = model._config.blank_token_id

    said = list(model._emitted([blank, the, blank, point, the], [0, 3, 1, 2, 1], 20))

    assert [(each.first, each.end) for each in said] == [(0, 3), (3, 3), (6, 7)]


@each_kind
@pytest.mark.parametrize("samples", [1, 399, 800])
def test_a_click_is_heard_without_a_fault(kind: str, samples: int) -> None:
    click = Piece(job=SHORT, samples=np.full(samples, 0.1, np.float32), start_s=0.0)

    (said,) = hear(engine(kind), click)

    assert said.duration_s == samples / MODEL_RATE_HZ
    assert all(word.end_s <= said.duration_s for word in said.words)


@pytest.mark.parametrize("timestamps", [Timestamps.NONE, Timestamps.SEGMENT, Timestamps.WORD])
def test_gives_the_times_that_are_asked_for(timestamps: Timestamps) -> None:
    model = engine(TDT)

    (said,) = hear(model, piece_of(model, replace(SHORT, timestamps=timestamps)))

    assert bool(said.segments) is (timestamps is not Timestamps.NONE)
    assert bool(said.words) is (timestamps is Timestamps.WORD)


def test_a_long_recording_is_heard_in_pieces() -> None:
    model = engine(TDT)

    whole = heard(model, LONGEST)

    assert len(list(model.pieces(LONGEST))) > 1
    assert all(before.end_s <= after.start_s + 0.001 for before, after in pairwise(whole.words))
    assert whole.words[-1].end_s > 30


def test_tells_what_it_can_do() -> None:
    can = engine(TDT).capabilities

    assert not can.generation
    assert not can.prompt
    assert not hears_languages(engine(TDT))
    assert can.tasks == {Task.TRANSCRIBE}
    assert can.timestamps == {Timestamps.SEGMENT, Timestamps.WORD}
    assert engine(TDT).max_rows > 1


def test_the_language_is_what_the_operator_says() -> None:
    model = load(str(folder(TDT)), LoadOptions(device="cpu", language="nl"))
    assert isinstance(model, Transducer)

    assert model.capabilities.languages == frozenset({"nl"})
    assert hear(model, piece_of(model, SHORT))[0].language == "nl"
    assert engine(TDT).capabilities.languages is None


def test_a_batch_that_nobody_waits_for_stops_at_the_next_token() -> None:
    model = engine(TDT)
    answers = iter([False, False, True])  # before anything is heard, and after each token

    with pytest.raises(Abandoned):
        model.hear([piece_of(model, SHORT)], lambda: next(answers))

    assert hear(model, piece_of(model, SHORT))[0].text  # it is as good as before
