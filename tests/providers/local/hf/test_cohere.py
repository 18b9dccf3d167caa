"""Cohere Transcribe of random weights: it writes what transformers has it write in the language it is told."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from transformers import CohereAsrProcessor

from providers.audio.samples import MODEL_RATE_HZ
from providers.errors import JobUnsupported
from providers.local.engine import Abandoned, Piece, heard
from providers.local.hf.checkpoint import LoadOptions
from providers.local.hf.cohere import Cohere
from providers.local.hf.load import load
from providers.local.models import ModelMissing
from providers.types import GENERATION_NAMES, GenerationParameters, Task, Timestamps, Transcript, TranscriptionJob
from tests.conftest import sample_audio
from tests.providers.local.hf import tiny_models

JOB = TranscriptionJob(model="m", audio=sample_audio("sb_spk2_snt1.flac"), timestamps=Timestamps.SEGMENT, language="en")


@cache
def folder() -> Path:
    return tiny_models.cohere(Path(mkdtemp()))


def loaded(language: str | None = None) -> Cohere:
    model = load(str(folder()), LoadOptions(device="cpu", language=language))
    assert isinstance(model, Cohere)
    return model


@cache
def cohere() -> Cohere:
    return loaded()


def asking(language: str = "en", audio: str = "sb_spk2_snt1.flac", **generation: Any) -> Piece:
    job = replace(JOB, language=language, audio=sample_audio(audio), generation=GenerationParameters(**generation))
    return next(each for each in cohere().pieces(job) if not each.silent)


def hear(*pieces: Piece) -> list[Transcript]:
    torch.manual_seed(0)
    cohere().check(pieces[0].job)
    return cohere().hear(pieces, lambda: False)


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("asked", [{"max_new_tokens": 20}, {"max_new_tokens": 12, "num_beams": 3}])
def test_writes_what_the_library_does(asked: dict[str, Any], language: str) -> None:
    piece = asking(language, **asked)
    checkpoint = cohere()._checkpoint
    processor = CohereAsrProcessor(checkpoint.features, checkpoint.tokenizer)
    inputs = processor([piece.samples], language=language, sampling_rate=MODEL_RATE_HZ)
    inputs.pop("audio_chunk_index")

    tokens = checkpoint.model.generate(**inputs, **asked)

    (said,) = hear(piece)
    assert [said.text] == [text.strip() for text in processor.decode(tokens, skip_special_tokens=True)]
    assert said.text
    assert said.language == language


@pytest.mark.parametrize("search", [{}, {"num_beams": 4, "num_beam_groups": 2}, {"penalty_alpha": 0.6, "top_k": 3}])
def test_languages_and_lengths_may_be_heard_together(search: dict[str, Any]) -> None:
    asked = {"max_new_tokens": 20, **search}
    pieces = [asking("en", **asked), asking("fr", "jfk.flac", **asked), asking("fr", **asked)]
    assert len({cohere().key(each) for each in pieces}) == 1

    together = hear(*pieces)

    assert together == [said for each in pieces for said in hear(each)]
    assert len({each.text for each in together}) == 3


@pytest.mark.parametrize(
    ("asked", "other", "same"),
    [
        ({"max_length": 15}, {"max_new_tokens": 5}, True),
        ({"do_sample": True, "top_k": 1}, {}, True),
        ({"do_sample": True}, {}, False),
        ({"num_beams": 4, "num_beam_groups": 2, "max_new_tokens": 20}, {"num_beams": 4, "max_new_tokens": 20}, False),
        ({"penalty_alpha": 0.6, "max_new_tokens": 20}, {"max_new_tokens": 20}, False),
        ({"use_cache": False, "max_new_tokens": 9}, {"max_new_tokens": 9}, True),
    ],
)
def test_the_parameters_reach_its_decoder(*, asked: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    assert (hear(asking(**asked))[0].text == hear(asking(**other))[0].text) is same


def test_no_more_tokens_than_it_has_room_for() -> None:
    with pytest.raises(JobUnsupported, match="max_new_tokens is at most 290 there, 300 less the 10 of the prompt"):
        hear(asking(max_new_tokens=291))


def test_a_language_has_to_be_given() -> None:
    with pytest.raises(JobUnsupported, match="cannot tell which language is spoken"):
        cohere().check(replace(JOB, language=None))
    with pytest.raises(JobUnsupported, match="does not hear 'tr'"):
        cohere().check(replace(JOB, language="tr"))


def test_the_operator_says_which_language_jobs_are_in_that_name_none() -> None:
    model = loaded("fr")
    model.check(replace(JOB, language=None))

    (said,) = model.hear([replace(asking("en", max_new_tokens=20), language=None)], lambda: False)

    assert said == hear(asking("fr", max_new_tokens=20))[0]
    with pytest.raises(ModelMissing, match="does not know 'tr'"):
        loaded("tr")


def test_a_long_recording_is_heard_in_pieces_that_its_features_do_not_cut() -> None:
    generation = GenerationParameters(max_new_tokens=3)
    job = replace(JOB, audio=sample_audio("two_cities.flac"), generation=generation)

    assert len(heard(cohere(), job).segments) >= 5
    assert max(each.duration_s for each in cohere().pieces(replace(job, timestamps=Timestamps.NONE))) <= 30
    assert heard(cohere(), replace(job, timestamps=Timestamps.NONE)).text


def test_tells_what_it_can_do() -> None:
    can = cohere().capabilities

    assert can.generation == frozenset(GENERATION_NAMES)
    assert can.tasks == {Task.TRANSCRIBE}
    assert can.timestamps == {Timestamps.SEGMENT}
    assert can.languages is not None
    assert {"en", "fr", "ja", "zh"} < can.languages
    assert cohere().rows(asking(num_beams=3)) == 3


def test_a_batch_that_nobody_waits_for_stops() -> None:
    with pytest.raises(Abandoned):
        cohere().hear([asking()], lambda: True)
