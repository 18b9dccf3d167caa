"""Rows that are heard side by side: what each says is what faster-whisper's own loop hears in it alone."""

from __future__ import annotations

import itertools
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from faster_whisper.audio import pad_or_trim

from providers.audio.samples import MODEL_RATE_HZ, Samples, read_samples
from providers.errors import JobRejected
from providers.local.engine import Abandoned
from providers.local.lockstep import Decoding, Row, _go_on, _stopped_early, _Window
from providers.types import Task
from tests.conftest import sample_audio, whisper, whisper_base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from providers.local.faster_whisper import FasterWhisper

PROMPT = "we are sure that they came and so it went on without an end"


@cache
def said(name: str) -> Samples:
    return read_samples(sample_audio(name).content, max_duration_s=60)


def noise(seconds: float) -> Samples:
    loud = np.random.default_rng(0).standard_normal(round(seconds * MODEL_RATE_HZ)) * 0.1
    return loud.astype(np.float32)


def together(
    engine: FasterWhisper,
    *pieces: tuple[Samples, str | None, str | None],
    task: Task = Task.TRANSCRIBE,
    how: Decoding | None = None,
) -> list[Row]:
    """Hear samples, each with its language and its prompt, in one batch."""
    rows = [engine._lockstep.row(samples, task, language, prompt) for samples, language, prompt in pieces]
    engine._lockstep.hear(rows, how or Decoding(), lambda: False)
    return rows


def alone(engine: FasterWhisper, samples: Samples, how: Decoding | None = None, **told: Any) -> list[Any]:
    """Return what the library makes of one of them."""
    how = how or Decoding()
    segments, _ = engine._model.transcribe(
        samples,
        temperature=how.temperature,
        beam_size=how.num_beams,
        max_new_tokens=how.max_new_tokens and 2 * how.max_new_tokens - 1,  # of which it lets half be written
        word_timestamps=how.words,
        condition_on_previous_text=False,
        **told,
    )
    return list(segments)


def told_by(row: Row) -> list[tuple[str, float, float]]:
    return [(segment["text"], round(segment["start"], 2), round(segment["end"], 2)) for segment in row.segments]


def told_alone(segments: Sequence[Any]) -> list[tuple[str, float, float]]:
    return [(segment.text, round(segment.start, 2), round(segment.end, 2)) for segment in segments]


NAMES = ("sb_spk2_snt1.flac", "arctic_a0024.wav", "jfk.flac", "digits_8k.wav", "slushy.wav")


@pytest.mark.parametrize(
    "how", [Decoding(), Decoding(num_beams=2), Decoding(max_new_tokens=6)], ids=["greedy", "beams", "few tokens"]
)
def test_a_row_says_what_it_would_alone(how: Decoding) -> None:
    rows = together(whisper(), *((said(name), None, None) for name in NAMES), how=how)

    assert [told_by(row) for row in rows] == [told_alone(alone(whisper(), said(name), how)) for name in NAMES]


@pytest.mark.parametrize("prompt", [None, PROMPT])
@pytest.mark.parametrize("tokens", [1, 6, 20])
def test_as_many_tokens_are_written_as_may_be(tokens: int, prompt: str | None) -> None:
    """Of long speech no fewer, whether the prompt is longer or not."""
    spoken = said("two_cities.flac")[: 20 * MODEL_RATE_HZ]
    engine = whisper()
    row = engine._lockstep.row(spoken, Task.TRANSCRIBE, None, prompt)
    assert row.tokenizer is not None
    encoded = engine._model.encode(pad_or_trim(row.features))
    (result,) = engine._lockstep._decoded([row], [row.tokenizer], encoded, Decoding(max_new_tokens=tokens))
    assert len(result.sequences_ids[0]) == tokens


def test_words_have_the_times_that_they_would_have_alone() -> None:
    """Among them one that needs a window more, whose last word ends before the first of another begins."""
    names, how = (*NAMES, "sb_spk1_snt1.flac"), Decoding(words=True)
    rows = together(whisper(), *((said(name), None, None) for name in names), how=how)

    for name, row in zip(names, rows, strict=True):
        expected = [word for segment in alone(whisper(), said(name), how) for word in segment.words]
        found = [word for segment in row.segments for word in segment["words"]]
        assert [(word["word"], word["start"], word["end"]) for word in found] == [
            (word.word, word.start, word.end) for word in expected
        ]
        assert [word["probability"] for word in found] == pytest.approx(
            [word.probability for word in expected], abs=1e-3
        )


def test_words_are_as_few_as_the_tokens_that_may_be() -> None:
    """What follows the last word is no window of its own: the limit holds for each of thirty seconds."""
    samples = (said("sb_spk2_snt1.flac"), None, None)
    (few,), (timed,) = (
        together(whisper(), samples, how=Decoding(max_new_tokens=4, words=words)) for words in (False, True)
    )
    assert [segment["text"] for segment in timed.segments] == [segment["text"] for segment in few.segments]
    assert [word["word"] for word in timed.segments[0]["words"]] == [" We", " are", " sure"]


def test_rows_of_several_windows_go_on_by_themselves() -> None:
    """One begins with noise: its prompt is still to come when the others' is used up. One is noise alone."""
    late = np.concatenate((noise(30), said("sb_spk2_snt1.flac")))
    short, long = said("sb_spk2_snt1.flac"), said("two_cities.flac")[: 33 * MODEL_RATE_HZ]
    rows = together(
        whisper(), (late, None, PROMPT), (short, None, PROMPT), (long, None, PROMPT), (noise(5), None, None)
    )

    expected = [alone(whisper(), samples, initial_prompt=PROMPT) for samples in (late, short, long)]
    assert [told_by(row) for row in rows] == [*map(told_alone, expected), []]
    assert all(row.segments[0]["text"].startswith(" we are sure") for row in rows[:2])  # in small letters, as prompted
    assert [segment["start"] >= 30 for segment in rows[0].segments] == [True]
    assert rows[2].segments[-1]["end"] > 30


FILES = {"es": "es_librivox.flac", "fr": "fr_dictee.aiff", "en": "sb_spk2_snt1.flac"}


def test_each_row_is_heard_in_its_own_language() -> None:
    """In the one that is told, else in the one that is heard."""
    told = [(said(name), None, None) for name in FILES.values()]
    rows = together(whisper_base(), *told, (said(FILES["fr"]), "en", None))

    assert [row.tokenizer and row.tokenizer.language_code for row in rows] == [*FILES, "en"]
    expected = [alone(whisper_base(), said(name)) for name in FILES.values()]
    assert [told_by(row) for row in rows[:3]] == [told_alone(each) for each in expected]
    assert "grabación" in rows[0].segments[0]["text"]
    assert told_by(rows[3]) != told_by(rows[1])


def test_words_of_rows_in_several_languages_have_times() -> None:
    how = Decoding(words=True)
    rows = together(whisper_base(), (said(FILES["fr"]), "fr", None), (said(FILES["en"]), "en", None), how=how)

    for row, (language, name) in zip(rows, (("fr", FILES["fr"]), ("en", FILES["en"])), strict=True):
        expected = [word for each in alone(whisper_base(), said(name), how, language=language) for word in each.words]
        found = [word for segment in row.segments for word in segment["words"]]
        assert [(word["word"], word["start"], word["end"]) for word in found] == [
            (word.word, word.start, word.end) for word in expected
        ]


def test_what_follows_an_early_end_is_heard() -> None:
    """The base model takes the first of two speakers for the whole of the window."""
    both = np.concatenate(
        (said("arctic_a0024.wav"), np.zeros(8_000, np.float32), said("two_cities.flac")[: 17 * MODEL_RATE_HZ])
    )
    (row,) = together(whisper_base(), (both, "en", None))

    text = "".join(segment["text"] for segment in row.segments)
    assert "reports from the north" in text
    assert "season of darkness" in text
    assert len("".join(each.text for each in alone(whisper_base(), both, language="en"))) < len(text) / 2


def row(frames: int, seek: int = 0) -> Row:
    return Row(np.zeros((80, frames + 1), np.float32), Task.TRANSCRIBE, (), None, seek=seek)


@pytest.mark.parametrize(
    ("seek", "end_s", "again"),
    [(0, 4.0, 400), (0, 23.0, 2300), (0, 26.0, None), (0, 0.9, None), (1000, 12.0, 1200)],
    ids=["early", "five seconds left", "hardly anything left", "nothing heard", "a later window"],
)
def test_an_early_end_is_one_with_more_to_hear(seek: int, end_s: float, again: int | None) -> None:
    assert _stopped_early(row(3000, seek), 3000 - seek, [{"end": end_s}]) == again


def test_a_window_is_not_heard_for_ever() -> None:
    """Whatever the model writes, the next one begins later."""
    at, tokenizer = row(5000, seek=1000), whisper()._lockstep._any_language
    _go_on(_Window(at, tokenizer, 3000, [{"start": 10.0, "end": 10.0, "tokens": []}], 1000, ended=False))

    assert (at.seek, at.segments) == (4000, [])


def test_a_temperature_draws_by_lot() -> None:
    """At 2.0 three rows the same is as good as impossible."""
    how = Decoding(temperature=2.0, max_new_tokens=12)
    rows = together(whisper(), *[(said("sb_spk2_snt1.flac"), None, None)] * 3, how=how)

    assert len({"".join(segment["text"] for segment in each.segments) for each in rows}) > 1


@pytest.mark.parametrize("calls", [0, 1])
def test_rows_that_nobody_waits_for_stop(calls: int) -> None:
    """Before the model is asked, and after each window."""
    asked = itertools.count()
    rows = [whisper()._lockstep.row(said("two_cities.flac"), Task.TRANSCRIBE, None, None)]
    with pytest.raises(Abandoned):
        whisper()._lockstep.hear(rows, Decoding(max_new_tokens=1), lambda: next(asked) >= calls)

    assert next(asked) == calls + 1


def test_a_prompt_cannot_command_the_model() -> None:
    with pytest.raises(JobRejected, match="control tokens"):
        whisper()._lockstep.prompt("<|startoftranscript|>")
    assert whisper()._lockstep.prompt(" ") == []
    assert len(whisper()._lockstep.prompt("word " * 900)) == 223
