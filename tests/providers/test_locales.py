"""Languages with regions."""

from __future__ import annotations

import pytest

from providers.locales import locale_of


@pytest.mark.parametrize(
    ("language", "locale"),
    [
        ("en", "en-US"),
        ("EN", "en-US"),
        ("english", "en-US"),
        ("pt", "pt-BR"),
        ("pt-pt", "pt-PT"),
        ("en_gb", "en-GB"),
        ("cmn-Hans-CN", "cmn-Hans-CN"),
        ("nb", "no-NO"),
        ("haw", None),
        ("xx", None),
        ("", None),
    ],
)
def test_a_language_gets_the_region_that_is_meant(language: str, locale: str | None) -> None:
    assert locale_of(language) == locale
