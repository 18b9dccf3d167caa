"""SeamlessM4T of random weights: languages, each of the sixteen parameters, batches, refusals."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import torch
from msgspec.structs import replace

from providers.audio.samples import MODEL_RATE_HZ
from providers.errors import JobUnsupported
from providers.local.engine import Abandoned, OutOfMemory, Piece, heard
from providers.local.hf.checkpoint import LoadOptions
from providers.local.hf.load import load
from providers.local.hf.seamless import Seamless
from providers.local.models import ModelMissing
from providers.types import (
    GENERATION_NAMES,
    GenerationParameters,
    Task,
    Timestamps,
    Transcript,
    TranscriptionJob,
)
from tests.conftest import sample_audio
from tests.providers.local.hf import tiny_models

JOB = TranscriptionJob(model="m", audio=sample_audio("jfk.flac"), language="en")
FOUR_BEAMS = {"num_beams": 4}
BY_LOT = {"do_sample": True}


@cache
def folder() -> Path:
    return tiny_models.seamless(Path(mkdtemp()))


@cache
def seamless(language: str | None = None) -> Seamless:
    model = load(str(folder()), LoadOptions(device="cpu", language=language))
    assert isinstance(model, Seamless)
    return model


@cache
def whole() -> Piece:
    (piece,) = seamless().pieces(JOB)
    return piece


def asking(job: TranscriptionJob = JOB, **generation: Any) -> Piece:
    return replace(whole(), job=replace(job, generation=GenerationParameters(**generation)))


def hear(*pieces: Piece, language: str | None = None) -> list[Transcript]:
    torch.manual_seed(0)  # what is drawn by lot is drawn alike
    return seamless(language).hear(pieces, lambda: False)


@cache
def said(**generation: Any) -> str:
    piece = asking(**generation)
    seamless().check(piece.job)
    return hear(piece)[0].text


def size(text: str) -> int:
    """Return how many tokens it is, without the two before it and the one after."""
    return len(seamless()._checkpoint.tokenizer(text)["input_ids"]) - 3


def test_writes_in_the_language_asked_for() -> None:
    english, french, chinese = (hear(asking(replace(JOB, language=each)))[0] for each in ("en", "fr", "zh"))

    assert len({english.text, french.text, chinese.text}) == 3
    assert (english.language, french.language, chinese.language) == ("en", "fr", "zh")
    assert english.duration_s == 11.0


def test_a_translation_is_into_english_whatever_is_spoken() -> None:
    """So nobody need say what it is."""
    for language in (None, "fr", "zh"):
        job = replace(JOB, task=Task.TRANSLATE, language=language)
        seamless().check(job)
        (each,) = hear(asking(job))

        assert each.text == said()
        assert each.language == "en"


def test_a_job_without_a_language_gets_the_one_that_is_set() -> None:
    unsaid = replace(JOB, language=None)
    seamless("fr").check(unsaid)

    assert hear(asking(unsaid), language="fr") == hear(asking(replace(JOB, language="fr")))
    assert hear(asking(JOB), language="fr")[0].text == said()


def test_without_any_language_it_says_what_to_give() -> None:
    with pytest.raises(JobUnsupported, match="cannot tell which language is spoken: give the language"):
        seamless().check(replace(JOB, language=None))


def test_a_language_that_it_does_not_write_is_refused() -> None:
    with pytest.raises(JobUnsupported, match="does not write 'de'"):
        seamless().check(replace(JOB, language="de"))
    with pytest.raises(ModelMissing, match="does not know 'de'"):
        seamless("de")


# Each of the sixteen: what it is asked with, what it is compared with, and whether the same is then said.
PARAMETERS = [
    ("temperature", {"temperature": 0.3}, BY_LOT, False),
    ("temperature", {"temperature": 1.0}, BY_LOT, True),
    ("temperature", {"temperature": 0.0}, {}, True),
    ("do_sample", BY_LOT, {}, False),
    ("do_sample", {"do_sample": False, "temperature": 0.7}, {}, True),
    ("do_sample", {**BY_LOT, "num_beams": 3}, {"num_beams": 3}, False),
    ("top_k", {**BY_LOT, "top_k": 1}, {}, True),
    ("top_k", {**BY_LOT, "top_k": 3}, BY_LOT, False),
    ("top_p", {**BY_LOT, "top_p": 0.01}, {}, True),
    ("typical_p", {**BY_LOT, "typical_p": 0.1}, BY_LOT, False),
    ("epsilon_cutoff", {**BY_LOT, "epsilon_cutoff": 0.9}, {}, True),
    ("eta_cutoff", {**BY_LOT, "eta_cutoff": 0.9}, BY_LOT, False),
    ("max_length", {"max_length": 7}, {"max_new_tokens": 5}, True),
    ("max_length", {"max_length": 9, "max_new_tokens": 5}, {"max_new_tokens": 5}, True),
    ("max_new_tokens", {"max_new_tokens": 5}, {}, False),
    ("min_length", {"min_length": 42}, {"min_new_tokens": 40}, True),
    ("min_new_tokens", {"min_new_tokens": 40}, {}, False),
    ("early_stopping", {"num_beams": 3, "early_stopping": "never"}, {"num_beams": 3}, False),
    ("early_stopping", {**FOUR_BEAMS, "early_stopping": True}, FOUR_BEAMS, False),
    ("early_stopping", {**FOUR_BEAMS, "early_stopping": False}, FOUR_BEAMS, True),
    ("num_beams", FOUR_BEAMS, {}, False),
    ("num_beam_groups", {**FOUR_BEAMS, "num_beam_groups": 2}, FOUR_BEAMS, False),
    ("penalty_alpha", {"penalty_alpha": 0.6}, {}, False),
    ("penalty_alpha", {"penalty_alpha": 0.6, "top_k": 2}, {"penalty_alpha": 0.6}, False),
    ("use_cache", {"use_cache": False}, {}, True),
]


@pytest.mark.parametrize(("name", "asked", "other", "same"), PARAMETERS)
def test_every_parameter_changes_what_it_should(
    *, name: str, asked: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    assert name in asked
    assert (said(**asked) == said(**other)) is same


def test_the_table_has_all_sixteen() -> None:
    assert {name for name, *_ in PARAMETERS} == set(GENERATION_NAMES) == seamless().capabilities.generation


def test_reads_the_vocabulary_as_it_is_published(tmp_path: Path) -> None:
    published = load(str(tiny_models.as_published(tiny_models.seamless(tmp_path))), LoadOptions(device="cpu"))

    (each,) = published.hear([asking(max_new_tokens=20)], lambda: False)

    tokenizer = published._checkpoint.tokenizer  # type: ignore[attr-defined] # of a Seamless
    assert each.text
    assert tokenizer.convert_tokens_to_ids(["__eng__", "__cmn__"]) == [80, 82]  # as the weights know them
    assert set(each.text) <= set(tiny_models.TEXT)


def test_lengths_are_of_tokens() -> None:
    assert size(said()) == 28  # and the end
    assert size(said(max_new_tokens=5)) == 5
    assert said().startswith(said(max_new_tokens=5))
    assert size(said(min_new_tokens=40)) == 40


def test_the_checkpoints_own_limit_holds_where_none_is_given() -> None:
    """256 for each piece: a model that repeats itself would go on to its 4096th position."""
    assert seamless()._keywords(asking().job)["max_new_tokens"] == 256
    assert seamless()._keywords(asking(min_new_tokens=300).job)["max_new_tokens"] == 300
    assert seamless()._keywords(asking(max_length=4096).job)["max_new_tokens"] == 4094
    assert seamless()._keywords(asking(max_new_tokens=1000).job)["max_new_tokens"] == 1000


def test_without_the_cache_all_is_read_again() -> None:
    read: dict[bool, list[int]] = {True: [], False: []}
    model = load(str(folder()), LoadOptions(device="cpu"))
    assert isinstance(model, Seamless)
    for use_cache, lengths in read.items():
        hook = model._checkpoint.model.text_decoder.register_forward_pre_hook(
            lambda _, __, given, lengths=lengths: lengths.append(given["input_ids"].shape[1]), with_kwargs=True
        )
        model.hear([asking(use_cache=use_cache, max_new_tokens=4)], lambda: False)
        hook.remove()

    assert read == {True: [2, 1, 1, 1], False: [2, 3, 4, 5]}


@pytest.mark.parametrize(
    ("generation", "why"),
    [
        ({"max_new_tokens": 4095}, "max_new_tokens is at most 4094"),
        ({"min_new_tokens": 4095}, "min_new_tokens is at most 4094"),
        ({"max_length": 4097}, "max_length is at most 4096"),
        ({"min_length": 4097}, "min_length is at most 4096"),
        ({"max_length": 2}, "max_length counts the 2 tokens of the prompt"),
        ({"max_new_tokens": 5, "min_new_tokens": 6}, "min_new_tokens asks for more"),
        ({"top_k": 5}, "top_k needs do_sample=true"),
        ({"top_p": 0.5}, "top_p needs do_sample=true"),
        ({"num_beams": 4, "num_beam_groups": 3}, "num_beam_groups must divide"),
        ({"penalty_alpha": 0.6, "num_beams": 2}, "contrastive search, which excludes"),
        ({"penalty_alpha": 0.6, "use_cache": False}, "contrastive search, which needs use_cache"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_decoded(generation: dict[str, Any], why: str) -> None:
    with pytest.raises(JobUnsupported, match=why):
        seamless().check(asking(**generation).job)


@pytest.mark.parametrize(
    "generation", [{}, {"num_beams": 3}, {"num_beams": 4, "num_beam_groups": 2}, {"penalty_alpha": 0.6}]
)
def test_a_batch_is_heard_as_its_pieces_are_alone(generation: dict[str, Any]) -> None:
    """Pieces that fill up to the same second, in one language and another."""
    long = asking(**generation, max_new_tokens=40)
    short = replace(long, samples=long.samples[: round(10.2 * MODEL_RATE_HZ)])
    french = replace(short, job=replace(short.job, language="fr"))
    assert seamless().key(long) == seamless().key(short) == seamless().key(french)

    together = hear(long, short, french)

    assert together == [*hear(long), *hear(short), *hear(french)]
    assert len({each.text for each in together}) == 3


def test_pieces_of_other_lengths_or_other_parameters_are_heard_apart() -> None:
    piece = asking()
    shorter = replace(piece, samples=piece.samples[: 9 * MODEL_RATE_HZ])

    assert seamless().key(piece) != seamless().key(shorter)
    assert seamless().key(piece) != seamless().key(asking(num_beams=2))


def test_beams_and_candidates_are_rows() -> None:
    asked: list[dict[str, Any]] = [{}, {"num_beams": 5}, {"penalty_alpha": 0.5}, {"penalty_alpha": 0.5, "top_k": 8}]

    assert [seamless().rows(asking(**each)) for each in asked] == [1, 5, 4, 8]


def test_a_piece_is_a_segment() -> None:
    """Where times are wanted, pieces are cut at more of the pauses."""
    job = replace(JOB, audio=sample_audio("two_cities.flac"), timestamps=Timestamps.SEGMENT)
    pieces = [each for each in seamless().pieces(job) if not each.silent]
    untimed = [each for each in seamless().pieces(replace(job, timestamps=Timestamps.NONE)) if not each.silent]
    assert all(len(each.samples) <= 10 * MODEL_RATE_HZ for each in pieces)
    assert len(pieces) > len(untimed)

    (each,) = hear(replace(pieces[0], job=replace(job, generation=GenerationParameters(max_new_tokens=5))))

    (segment,) = each.segments
    assert segment.text == each.text
    assert (segment.start_s, segment.end_s) == (0.0, len(pieces[0].samples) / MODEL_RATE_HZ)
    assert each.words == ()
    assert hear(asking(max_new_tokens=5))[0].segments == ()


def test_segments_follow_each_other_over_a_recording() -> None:
    job = replace(JOB, audio=sample_audio("two_cities.flac"), timestamps=Timestamps.SEGMENT)

    whole = heard(seamless(), replace(job, generation=GenerationParameters(max_new_tokens=5)))

    assert whole.language == "en"
    assert whole.duration_s
    assert len(whole.segments) > 3
    ends = [each.end_s or 0.0 for each in whole.segments]
    assert all(end_s <= after.start_s + 0.001 for end_s, after in zip(ends, whole.segments[1:], strict=False))
    assert ends[-1] <= whole.duration_s + 0.001
    assert " ".join(each.text for each in whole.segments) == whole.text


def test_tells_what_it_can_do() -> None:
    can = seamless().capabilities

    assert can.timestamps == {Timestamps.SEGMENT}
    assert can.tasks == {Task.TRANSCRIBE, Task.TRANSLATE}
    assert can.languages is not None
    assert {"en", "fr", "zh", "ga", "ceb"} <= can.languages
    assert not can.prompt
    assert seamless().size_bytes > 100_000


@pytest.mark.parametrize("generation", [{}, {"num_beams": 2}, {"penalty_alpha": 0.6}])
@pytest.mark.parametrize("tokens", [0, 5])
def test_a_batch_that_nobody_waits_for_stops_at_the_next_token(generation: dict[str, Any], tokens: int) -> None:
    asked = itertools.count()
    with pytest.raises(Abandoned):
        seamless().hear([asking(**generation)], lambda: next(asked) >= tokens)

    assert next(asked) <= tokens + 1


def test_want_of_memory_says_so() -> None:
    model = load(str(folder()), LoadOptions(device="cpu"))
    assert isinstance(model, Seamless)
    model._checkpoint.model.speech_encoder.register_forward_pre_hook(lambda *_: torch.empty(2**60))

    with pytest.raises(OutOfMemory):
        model.hear([asking()], lambda: False)
