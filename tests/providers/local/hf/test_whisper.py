"""Whisper through transformers: the real tiny.en on real speech."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import pytest
import torch
from msgspec.structs import replace

from providers.errors import JobRejected, JobUnsupported
from providers.local.engine import Abandoned, Piece, heard
from providers.local.hf import generation
from providers.local.hf.whisper import _row_bytes, _up_to
from providers.types import GENERATION_NAMES, GenerationParameters, Task, Timestamps, Transcript, TranscriptionJob
from tests.conftest import sample_audio
from tests.contract.test_word_errors import SPOKEN, errors, words
from tests.golden import tiny

SHORT = "sb_spk2_snt1.flac"  # two seconds
FEW = 10  # tokens
# One recording in many containers, of which decoding is tested elsewhere.
SAME_AGAIN = {f"slushy.{form}" for form in ("m4a", "mp3", "ogg", "opus", "wav", "webm")}


@cache
def piece(name: str = SHORT) -> Piece:
    (only,) = tiny().pieces(TranscriptionJob(model="m", audio=sample_audio(name)))
    return only


def asking(name: str = SHORT, *, timestamps: Timestamps = Timestamps.NONE, **generation: Any) -> Piece:
    job = replace(piece(name).job, generation=GenerationParameters(**generation), timestamps=timestamps)
    return replace(piece(name), job=job)


@cache
def hear(name: str = SHORT, **asked: Any) -> Transcript:
    torch.manual_seed(0)
    tiny().check(asking(name, **asked).job)
    (only,) = tiny().hear([asking(name, **asked)], lambda: False)
    return only


def test_hears_what_was_said() -> None:
    found = heard(tiny(), piece().job)

    assert found.text == "We are sure that one war is enough."
    assert (found.language, found.model_version) == ("en", "tiny.en")
    assert found.duration_s == pytest.approx(2.01)
    assert (found.segments, found.words) == ((), ())


@pytest.mark.parametrize(("name", "text"), [each for each in SPOKEN if each.id not in SAME_AGAIN])
def test_no_word_of_the_bundled_english_is_heard_wrong(name: str, text: str) -> None:
    found = heard(tiny(), TranscriptionJob(model="m", audio=sample_audio(name)))

    assert errors(words(text), words(found.text)) == 0, found.text


@pytest.mark.parametrize(
    ("asked", "instead"),
    [
        ({"temperature": 2.0}, {}),
        ({"do_sample": True, "temperature": 2.0}, {"do_sample": False, "temperature": 2.0}),
        ({"top_k": 2, "temperature": 2.0}, {"temperature": 2.0}),
        ({"top_p": 0.5, "temperature": 2.0}, {"temperature": 2.0}),
        ({"typical_p": 0.3, "temperature": 2.0}, {"temperature": 2.0}),
        ({"epsilon_cutoff": 0.2, "temperature": 2.0}, {"temperature": 2.0}),
        ({"eta_cutoff": 0.2, "temperature": 2.0}, {"temperature": 2.0}),
        ({"max_length": 6}, {}),
        ({"max_new_tokens": 6}, {}),
        ({"min_length": 12}, {}),
        ({"min_new_tokens": 10}, {}),
    ],
    ids="-".join,
)
def test_a_parameter_changes_what_is_written(asked: dict[str, float], instead: dict[str, float]) -> None:
    few = {"max_new_tokens": FEW} if "max_length" not in asked and "max_new_tokens" not in asked else {}
    assert hear(**{**few, **asked}).text != hear(**{**few, **instead}).text


@pytest.mark.parametrize(
    "asked",
    [{"num_beams": 2}, {"penalty_alpha": 0.8, "top_k": 8}, {"num_beams": 4, "num_beam_groups": 2}],
    ids="-".join,
)
def test_a_search_changes_what_is_written(asked: dict[str, float]) -> None:
    """Of digits over a telephone, where what is likely is not clear."""
    assert hear("digits_8k.wav", max_new_tokens=16, **asked).text != hear("digits_8k.wav", max_new_tokens=16).text


@pytest.mark.parametrize(
    ("name", "value", "beside"),
    [
        ("use_cache", False, {}),
        ("early_stopping", "never", {"num_beams": 2}),
        ("early_stopping", True, {"num_beams": 2}),
    ],
)
def test_a_parameter_that_changes_no_text_here_is_the_decoders(
    name: str, value: object, beside: dict[str, int]
) -> None:
    given = generation.keywords(GenerationParameters(**{name: value}, **beside), generation.Room(2, 448))  # type: ignore[arg-type] # fields of many types
    effective, _ = tiny()._model._prepare_generation_config(None, **given)

    assert getattr(effective, name) == value


def test_without_a_cache_it_is_the_same_text() -> None:
    assert hear(use_cache=False, max_new_tokens=5).text == hear(max_new_tokens=5).text


def test_a_number_of_tokens_is_a_number_of_tokens() -> None:
    spoken = tiny()._tokens
    few = hear(max_new_tokens=5).text
    assert len(spoken._tokenizer.encode(few, add_special_tokens=False)) <= 5
    assert hear().text.startswith(few)
    assert hear(max_length=7).text == few  # of which two are the prompt


def test_a_batch_is_heard_as_each_alone() -> None:
    names = [SHORT, "arctic_a0024.wav", "jfk.flac"]
    together = tiny().hear([asking(name, timestamps=Timestamps.WORD) for name in names], lambda: False)

    for name, found in zip(names, together, strict=True):
        alone = hear(name, timestamps=Timestamps.WORD)
        assert (found.text, found.language, found.duration_s) == (alone.text, alone.language, alone.duration_s)
        assert found.segments == alone.segments
        assert [word.text for word in found.words] == [word.text for word in alone.words]
        starts = [word.start_s for word in alone.words]
        assert [word.start_s for word in found.words] == pytest.approx(starts, abs=0.021)


def test_times_go_forward_and_stay_inside_the_audio() -> None:
    found = hear("jfk.flac", timestamps=Timestamps.WORD)
    assert found.duration_s
    spans = [(word.start_s, word.end_s) for word in found.words]
    spans += [(segment.start_s, segment.end_s or 0.0) for segment in found.segments]

    assert " ".join(word.text for word in found.words) == found.text
    assert "".join(segment.text for segment in found.segments).strip() == found.text
    assert all(0 <= start_s <= end_s <= found.duration_s for start_s, end_s in spans)
    for before, after in itertools.pairwise(found.words):
        assert before.end_s <= after.start_s
    for earlier, later in itertools.pairwise(found.segments):
        assert (earlier.end_s or 0.0) <= later.start_s
    assert all(word.confidence is not None and 0 < word.confidence <= 1 for word in found.words)
    (country,) = [word for word in found.words if word.text == "country"]
    assert country.start_s == pytest.approx(6.0, abs=0.3)


@pytest.mark.parametrize("asked", [{"penalty_alpha": 0.6}, {"num_beams": 2, "num_beam_groups": 2}])
def test_words_have_times_after_every_search(asked: dict[str, float]) -> None:
    found = hear(timestamps=Timestamps.WORD, **asked)
    assert " ".join(word.text for word in found.words) == found.text
    assert found.segments[-1].end_s == pytest.approx(2.0, abs=0.2)


def test_segments_have_times_and_words_have_none_unless_asked() -> None:
    found = hear(timestamps=Timestamps.SEGMENT)
    assert [segment.text for segment in found.segments] == [" We are sure that one war is enough."]
    assert found.words == ()


def test_a_prompt_is_heard_with_and_takes_room() -> None:
    """Text before in small letters and without a full stop goes on like that."""
    job = replace(piece().job, prompt="we are sure that they came and so it went on without an end")
    (found,) = tiny().hear([replace(piece(), job=job)], lambda: False)

    assert found.text == "we are sure that one war is enough"
    tiny().check(replace(job, generation=GenerationParameters(max_new_tokens=430)))
    with pytest.raises(
        JobUnsupported, match=r"max_new_tokens is at most 4[23]\d there, 448 less the 1\d of the prompt"
    ):
        tiny().check(replace(job, generation=GenerationParameters(max_new_tokens=446)))


def test_a_long_prompt_is_cut_to_its_end() -> None:
    long = replace(piece().job, prompt="word " * 900)
    assert len(tiny()._tokens.prompt(long, "en")) == 226  # half of the positions, and what begins it


def test_a_prompt_cannot_command_the_model() -> None:
    with pytest.raises(JobRejected, match="control tokens"):
        tiny().check(replace(piece().job, prompt="<|translate|>"))


@pytest.mark.parametrize("calls", [0, 3])
def test_a_batch_that_nobody_waits_for_stops(calls: int) -> None:
    asked = itertools.count()
    with pytest.raises(Abandoned):
        tiny().hear([piece()], lambda: next(asked) >= calls)
    assert next(asked) == calls + 1


def test_pieces_are_heard_together_where_one_call_can_do_it() -> None:
    assert tiny().key(asking()) == tiny().key(replace(asking("jfk.flac"), language="en"))
    keys = {
        tiny().key(asking()),
        tiny().key(asking(num_beams=2)),
        tiny().key(asking(timestamps=Timestamps.WORD)),
        tiny().key(replace(asking(), job=replace(asking().job, prompt="a"))),
    }
    assert len(keys) == 4
    assert tiny().rows(asking(num_beams=3)) == 3


def test_tells_what_it_can_do() -> None:
    can = tiny().capabilities

    assert can.generation == set(GENERATION_NAMES)
    assert can.timestamps == {Timestamps.SEGMENT, Timestamps.WORD}
    assert can.tasks == {Task.TRANSCRIBE}
    assert can.languages == frozenset({"en"})
    assert 140e6 < tiny().size_bytes < 160e6
    assert tiny().max_rows >= 1
    assert _row_bytes(tiny()._model) > 20e6


def test_an_english_model_neither_translates_nor_hears_french() -> None:
    with pytest.raises(JobUnsupported, match="English only"):
        tiny().check(replace(piece().job, task=Task.TRANSLATE))
    with pytest.raises(JobUnsupported, match="'fr'"):
        tiny().check(replace(piece().job, language="fr"))


def test_what_follows_the_end_is_padding() -> None:
    assert (_up_to([1, 2, 9, 9], 9), _up_to([1, 2], 9)) == ([1, 2], [1, 2])
