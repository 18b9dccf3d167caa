"""A checkpoint's own names of languages are found by those that callers know."""

from __future__ import annotations

from providers.local.hf.own_codes import by_code


def test_languages_go_by_two_letters_and_by_their_own_three_and_the_plain_variety_is_meant() -> None:
    names = ["arb", "ary", "azj", "ceb", "cmn", "cmn_Hant", "eng", "gle", "khk", "lvs", "pes", "swh", "yue", "zlm"]
    known = by_code(names)

    of_two = {code: own for code, own in known.items() if len(code) == 2}
    assert of_two == {
        "ar": "arb",
        "az": "azj",
        "zh": "cmn",
        "en": "eng",
        "ga": "gle",
        "mn": "khk",
        "lv": "lvs",
        "fa": "pes",
        "sw": "swh",
        "ms": "zlm",
    }
    assert {own: known[own] for own in names} == {own: own for own in names}


def test_of_several_scripts_the_usual_one_is_meant() -> None:
    known = by_code({"azj-script_cyrillic", "azj-script_latin", "kmr-script_latin", "cmn-script_simplified"})

    assert known["az"] == "azj-script_latin"
    assert known["azj-script_cyrillic"] == "azj-script_cyrillic"
    assert known["kmr"] == "kmr-script_latin"
    assert known["zh"] == "cmn-script_simplified"
