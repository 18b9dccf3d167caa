"""The multilingual base model: languages that nobody named, several in one batch, and translations."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest
import torch
from msgspec.structs import replace

from providers.errors import JobUnsupported
from providers.local.hf.checkpoint import LoadOptions
from providers.local.hf.load import load
from providers.types import GenerationParameters, Task, Timestamps, TranscriptionJob
from tests.conftest import sample_audio

if TYPE_CHECKING:
    from providers.local.engine import Engine, Piece

FILES = {"es": "es_librivox.flac", "fr": "fr_dictee.aiff", "en": "sb_spk2_snt1.flac"}


@cache
def base() -> Engine:
    torch.set_num_threads(1)
    return load("base", LoadOptions(device="cpu"))


@cache
def piece(language: str) -> Piece:
    job = TranscriptionJob(model="m", audio=sample_audio(FILES[language]))
    return next(iter(base().pieces(job)))


def test_each_row_of_a_batch_is_heard_in_its_own_language() -> None:
    found = base().hear([piece(language) for language in FILES], lambda: False)

    assert [each.language for each in found] == list(FILES)
    assert "grabación" in found[0].text
    assert "dictée" in found[1].text
    assert found[2].text == "We are sure that one war is enough."


def test_a_language_that_was_named_is_not_listened_for() -> None:
    few = replace(piece("fr").job, generation=GenerationParameters(max_new_tokens=3))
    rows = [replace(piece("fr"), job=few, language="es"), replace(piece("fr"), job=few)]
    assert [each.language for each in base().hear(rows, lambda: False)] == ["es", "fr"]


def test_a_translation_is_english_with_times_for_its_words() -> None:
    job = replace(piece("fr").job, task=Task.TRANSLATE, timestamps=Timestamps.WORD)
    base().check(job)
    (found,) = base().hear([replace(piece("fr"), job=job)], lambda: False)

    assert "dictation number" in found.text
    assert " ".join(word.text for word in found.words) == found.text


def test_tells_what_it_can_do() -> None:
    can = base().capabilities

    assert can.tasks == set(Task)
    assert len(can.languages or ()) == 99
    with pytest.raises(JobUnsupported, match="'tlh'"):
        base().check(replace(piece("fr").job, language="tlh"))
    with pytest.raises(JobUnsupported, match="at most 444"):
        base().check(replace(piece("fr").job, generation=GenerationParameters(max_new_tokens=445)))
