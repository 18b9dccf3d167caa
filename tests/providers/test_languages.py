"""Languages as services write them."""

from __future__ import annotations

import pytest
from faster_whisper.tokenizer import _LANGUAGE_CODES
from hypothesis import given
from hypothesis import strategies as st

from providers.languages import NAMES, code_of, name_of


def test_the_table_is_whispers() -> None:
    assert set(NAMES) == set(_LANGUAGE_CODES)
    assert len(NAMES) == 100
    assert len(set(NAMES.values())) == 100


@pytest.mark.parametrize("code", NAMES)
def test_code_and_name_are_two_ways_to_say_one_thing(code: str) -> None:
    assert code_of(code) == code_of(NAMES[code]) == code_of(NAMES[code].title()) == code_of(code.upper()) == code
    assert name_of(code) == NAMES[code]


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("en-US", "en"),
        ("en_GB", "en"),
        ("zh-Hant-TW", "zh"),
        ("cmn-Hans-CN", "zh"),
        (" German ", "de"),
        ("Mandarin", "zh"),
        ("castilian", "es"),
        ("Haitian Creole", "ht"),
        ("nb-NO", "no"),
        ("iw", "he"),
        ("jv", "jw"),
        ("yue", "yue"),
        ("eng", "en"),
        ("spa", "es"),
        ("jav", "jw"),
        ("sun", "su"),
        ("nob", "no"),
        ("fil", "tl"),
        ("zho-Hant", "zh"),
        ("tlh", None),
        ("Klingon", None),
        ("", None),
        ("-", None),
    ],
)
def test_reads_what_services_write(written: str, code: str | None) -> None:
    assert code_of(written) == code


def test_a_code_without_a_name_is_its_own() -> None:
    assert name_of("tlh") == "tlh"
    assert name_of("pt-BR") == "portuguese"


@given(st.text(max_size=30))
def test_anything_is_a_known_code_or_none(written: str) -> None:
    assert code_of(written) in {None, *NAMES}
