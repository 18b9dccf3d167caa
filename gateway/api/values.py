"""Values a caller may give, each said once: to check what is given by, and to publish as JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from gateway.problems import invalid_parameter
from providers.languages import code_of
from providers.types import Task, Timestamps

T = TypeVar("T")
MAX_PROMPT_CHARACTERS: Final = 8_000
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})*")


@dataclass(frozen=True, slots=True)
class Value(Generic[T]):
    """Called with a name and what was given under it, it returns that, read. Raises Problem 422."""

    schema: Mapping[str, Any]  # of what it takes
    read: Callable[[str, Any], T]

    def __call__(self, name: str, value: Any) -> T:  # noqa: ANN401 - a caller may send anything
        return self.read(name, value)


def number(low: float, high: float, *, above: bool = False, below: bool = False) -> Value[float]:
    """Return finite numbers in a range, its ends excluded with above and below."""
    allowed = f"a number {'>' if above else 'from'} {low:g} {'and <' if below else 'to'} {high:g}"

    def read(name: str, value: Any) -> float:  # noqa: ANN401 - a caller may send anything
        fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        if not fits or (above and value == low) or (below and value == high):
            raise invalid_parameter(name, value, allowed)
        return float(value)

    least = {"exclusiveMinimum" if above else "minimum": low}
    return Value({"type": "number", **least, "exclusiveMaximum" if below else "maximum": high}, read)


def integer(low: int, high: int) -> Value[int]:
    """Return whole numbers in a range."""

    def read(name: str, value: Any) -> int:  # noqa: ANN401 - a caller may send anything
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise invalid_parameter(name, value, f"an integer from {low} to {high}")
        return value

    return Value({"type": "integer", "minimum": low, "maximum": high}, read)


def word(meanings: Mapping[str, T]) -> Value[T]:
    """Return one of some words, each with what it means."""

    def read(name: str, value: Any) -> T:  # noqa: ANN401 - a caller may send anything
        if not isinstance(value, str) or value not in meanings:
            raise invalid_parameter(name, value, ", ".join(meanings))
        return meanings[value]

    return Value({"enum": list(meanings)}, read)


def _boolean(name: str, value: Any) -> bool:  # noqa: ANN401 - a caller may send anything
    if not isinstance(value, bool):
        raise invalid_parameter(name, value, "true or false")
    return value


def _early_stopping(name: str, value: Any) -> bool | str:  # noqa: ANN401 - a caller may send anything
    value = {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value
    if isinstance(value, bool):
        return value
    if value == "never":
        return "never"
    raise invalid_parameter(name, value, 'true, false or "never"')


def _language(name: str, value: Any) -> str | None:  # noqa: ANN401 - a caller may send anything
    if not isinstance(value, str):
        raise invalid_parameter(name, value, "a language code such as en")
    if value.strip().lower() in {"", "auto", "none", "null"}:
        return None
    code = code_of(value) or (value.lower() if _LANGUAGE.fullmatch(value.lower()) else None)
    if code is None:
        raise invalid_parameter(name, value, "a language code such as en, or its English name")
    return code


def _prompt(name: str, value: Any) -> str | None:  # noqa: ANN401 - a caller may send anything
    """Read text without control characters that would mean something elsewhere."""
    if not isinstance(value, str) or "\x00" in value or len(value) > MAX_PROMPT_CHARACTERS:
        raise invalid_parameter(name, "(text)", f"a string of at most {MAX_PROMPT_CHARACTERS} characters without NUL")
    return value or None


def _task(name: str, value: Any) -> Task:  # noqa: ANN401 - a caller may send anything
    if not isinstance(value, str) or value not in {"transcribe", "translate"}:
        raise invalid_parameter(name, value, '"transcribe" or "translate"')
    return Task(value)


def _timestamps(name: str, value: Any) -> Timestamps:  # noqa: ANN401 - a caller may send anything
    known: dict[Any, Timestamps] = {
        True: Timestamps.SEGMENT,
        False: Timestamps.NONE,
        "segment": Timestamps.SEGMENT,
        "word": Timestamps.WORD,
    }
    if not isinstance(value, bool | str) or value not in known:
        raise invalid_parameter(name, value, 'true, false, "segment" or "word"')
    return known[value]


def _provider_options(name: str, value: Any) -> Mapping[str, Any]:  # noqa: ANN401 - a caller may send anything
    if not isinstance(value, Mapping) or not all(isinstance(each, Mapping) for each in value.values()):
        raise invalid_parameter(name, value, "an object of objects, by provider")
    return value


BOOLEAN: Final = Value({"type": "boolean"}, _boolean)
EARLY_STOPPING: Final = Value({"enum": [True, False, "never"]}, _early_stopping)
LANGUAGE: Final = Value(
    {"type": "string", "description": "A code such as en, or its English name; auto, or nothing: detect."}, _language
)
PROMPT: Final = Value(
    {"type": "string", "maxLength": MAX_PROMPT_CHARACTERS, "description": "Text without NUL."}, _prompt
)
TASK: Final = Value({"enum": [each.value for each in Task]}, _task)
TIMESTAMPS: Final = Value(
    {"enum": [True, False, "segment", "word"], "description": "As the specification has it; true: segments."},
    _timestamps,
)
PROVIDER_OPTIONS: Final = Value({"type": "object", "additionalProperties": {"type": "object"}}, _provider_options)
