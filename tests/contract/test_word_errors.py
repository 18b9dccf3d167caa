"""The whole way from file to text makes no mistake on the bundled English speech.

The clips are well known: this proves the pipeline, not what the error rate on new audio is.
"""

from __future__ import annotations

import json
import re

import pytest

from providers.local.engine import heard
from providers.types import Task, TranscriptionJob
from tests.conftest import AUDIO, sample_audio, whisper, whisper_base

# Spellings that openai-whisper's English normaliser holds to be equal.
SAME = {"mr": "mister", "drafty": "draughty", "he'll": "he will", "schoolrooms": "school rooms"}
SAMPLES = json.loads((AUDIO / "manifest.json").read_text())["samples"]
SPOKEN = [
    pytest.param(each["file"], each["text"], id=each["file"])
    for each in SAMPLES
    if each["language"] == "en" and each["file"] != "digits_8k.wav"  # "one zero" and "10" are a normaliser of their own
]


def words(text: str) -> list[str]:
    """Return the words as they sound: no case, no punctuation, one spelling."""
    plain = re.sub(r"[^\w\s']", " ", text.lower().replace("\u2019", "'"))
    return " ".join(SAME.get(word, word) for word in plain.split()).split()


def errors(said: list[str], written: list[str]) -> int:
    """Return the least number of words to change, drop or add (Levenshtein)."""
    row = list(range(len(written) + 1))
    for number, word in enumerate(said, 1):
        above, row[0] = row[0], number
        for at, other in enumerate(written, 1):
            above, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, above + (word != other))
    return row[-1]


def test_errors_are_counted_as_they_are_made() -> None:
    said = words("we are sure that one war is enough")
    assert errors(said, said) == 0
    assert errors(said, words("we're sure that one war is enough now")) == 3
    assert errors(said, []) == 8
    assert words("Mr. Dashwood, in DRAFTY school-rooms!") == ["mister", "dashwood", "in", "draughty", "school", "rooms"]


@pytest.mark.parametrize(("name", "text"), SPOKEN)
def test_no_word_is_heard_wrong(name: str, text: str) -> None:
    said = heard(whisper(), TranscriptionJob(model="m", audio=sample_audio(name)))

    assert errors(words(text), words(said.text)) == 0, said.text


@pytest.mark.parametrize(("name", "language", "most"), [("es_librivox.flac", "es", 0), ("fr_dictee.aiff", "fr", 1)])
def test_other_languages_are_told_and_heard(name: str, language: str, most: int) -> None:
    """By the embedded model of 99 languages, which writes "un" as a digit."""
    (text,) = (each["text"] for each in SAMPLES if each["file"] == name)
    said = heard(whisper_base(), TranscriptionJob(model="m", audio=sample_audio(name)))

    assert said.language == language
    assert errors(words(text), words(said.text)) <= most, said.text


def test_spanish_becomes_english() -> None:
    job = TranscriptionJob(model="m", audio=sample_audio("es_librivox.flac"), task=Task.TRANSLATE)
    said = heard(whisper_base(), job)

    assert {"recording", "public", "domain"} <= set(words(said.text)), said.text
