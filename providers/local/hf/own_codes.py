"""Languages as a checkpoint writes them, by the codes that callers use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from providers.languages import code_of

if TYPE_CHECKING:
    from collections.abc import Iterable

_BEYOND_WHISPER: Final = {
    "epo": "eo",
    "ewe": "ee",
    "fuv": "ff",
    "gaz": "om",
    "gle": "ga",
    "ibo": "ig",
    "kin": "rw",
    "kir": "ky",
    "lug": "lg",
    "nya": "ny",
    "ory": "or",
    "tir": "ti",
    "tso": "ts",
    "uig": "ug",
    "wol": "wo",
    "xho": "xh",
    "zul": "zu",
}
"""Two-letter codes of languages that Whisper does not know, by ISO-639-3."""
_USUAL: Final = ("azj-script_latin", "uzb-script_latin")
"""Of a language with several scripts the one it is written in most, where another comes before it."""


def by_code(known: Iterable[str]) -> dict[str, str]:
    """Return the checkpoint's code of each language by ISO-639-1 code where there is one, and by the checkpoint's own.

    known: codes of three letters, perhaps with a script. Of several varieties the plain one: cmn before cmn_Hant, arb
    before ary.
    """
    codes = set(known)
    found: dict[str, str] = {}
    for own in [*codes.intersection(_USUAL), *sorted(codes)]:
        plain = own.partition("-script_")[0]
        found.setdefault(code_of(plain) or _BEYOND_WHISPER.get(plain) or plain, own)
        found.setdefault(own, own)
    return found
