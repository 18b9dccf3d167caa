"""What is wrong with a value, in this program's own words: pydantic's speak of inputs, instances and parsing."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# By pydantic's names for them: https://docs.pydantic.dev/latest/errors/validation_errors/
_WHOLE, _NUMBER, _YES_NO = "expected a whole number", "expected a number", "expected true or false"
_LIST, _SECTION, _SIZE = "expected a list", "expected keys with values", "expected a size such as 100MiB"
_WORDS: Final = {
    "missing": "is missing",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "expected a finite number",
    "bool_type": _YES_NO,
    "bool_parsing": _YES_NO,
    "string_type": "expected text",
    "list_type": _LIST,
    "tuple_type": _LIST,
    "dict_type": _SECTION,
    "model_type": _SECTION,
    "model_attributes_type": _SECTION,
    "path_type": "expected a path",
    "byte_size": _SIZE,
    "byte_size_unit": _SIZE,
    "enum": "expected {expected}",
    "literal_error": "expected {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "string_pattern_mismatch": "expected {form}",
    "too_short": "expected {min_length} or more",
    "too_long": "expected {max_length} or fewer",
    "string_too_short": "expected {min_length} or more characters",
    "string_too_long": "expected {max_length} or fewer characters",
}
_FORMS: Final = {  # of patterns in this package
    r"^[\w.-]+$": "letters, digits, . _ or -",
    r"^[^\x00-\x1f\x7f]*$": "text in one line",
    r"^sha256:[0-9a-f]{64}$": "sha256: and 64 hexadecimal digits, as `asr-gateway keys new` writes it",
    r"^[\w.-]+(/.*)?$": "an account's name, a slash, and the model's name there",
    r"^[\w:.-]+$": "letters, digits, : . _ or -",
    r"^https?://[^\s?#@]+$": "an http:// or https:// address without a query or a credential",
}


def in_words(kind: str, context: Mapping[str, Any], message: str) -> str:
    """Return what is wrong with a value, without the value.

    kind, context, message: as pydantic has them; the message is returned where there are no words for the kind.
    """
    pattern = context.get("pattern")
    form = _FORMS.get(str(pattern), f"the form {pattern}")
    words = _WORDS.get(kind)
    return message.removeprefix("Value error, ") if words is None else words.format(**{**context, "form": form})


class BadConfiguration(ValueError):
    """The configuration cannot be used; the message says where and what would be valid."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return what a wrong name may have been meant for, to stand at the end of a sentence."""
    close = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; valid are: {', '.join(sorted(valid))}"
