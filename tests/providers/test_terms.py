"""Words and phrases of a prompt."""

from __future__ import annotations

from providers.terms import terms_of


def test_what_stands_between_commas_semicolons_and_line_ends_is_a_term() -> None:
    assert terms_of("Zoë, Mr. Dashwood;\nplain English\n\n , ") == ["Zoë", "Mr. Dashwood", "plain English"]
    assert terms_of("") == []
