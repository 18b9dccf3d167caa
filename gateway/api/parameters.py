"""The Hugging Face specification's parameters: each typed and range-checked before any model is touched.

Source: @huggingface/tasks 0.21.54 `automatic-speech-recognition/spec/input.json`; ranges as transformers 5.23 enforces
them, or should (it answers with TypeError, ZeroDivisionError and RuntimeError after the audio was decoded).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from gateway.problems import invalid_parameter, unknown_parameter
from providers.languages import code_of
from providers.types import GenerationParameters, Task, Timestamps

MAX_BEAMS = 16  # each multiplies a decoder's memory
MAX_PROMPT_CHARACTERS = 8_000
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What a caller asked for beside the audio."""

    task: Task = Task.TRANSCRIBE
    language: str | None = None
    prompt: str | None = None
    timestamps: Timestamps = Timestamps.NONE
    generation: GenerationParameters = field(default_factory=GenerationParameters)
    diarize: bool = False
    provider_options: Mapping[str, Any] = field(default_factory=dict)  # still unchecked
    without_effect: tuple[str, ...] = ()  # accepted, and named in the answer as ignored


Read = Callable[[str, Any], Any]


def number(low: float, high: float, *, above: bool = False, below: bool = False) -> Read:
    """Make a reader of finite numbers in a range, its ends excluded with above and below."""
    allowed = f"a number {'>' if above else 'from'} {low:g} {'and <' if below else 'to'} {high:g}"

    def read(name: str, value: Any) -> float:  # noqa: ANN401 - a caller may send anything
        fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        if not fits or (above and value == low) or (below and value == high):
            raise invalid_parameter(name, value, allowed)
        return float(value)

    return read


def integer(low: int, high: int) -> Read:
    """Make a reader of whole numbers in a range."""

    def read(name: str, value: Any) -> int:  # noqa: ANN401 - a caller may send anything
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise invalid_parameter(name, value, f"an integer from {low} to {high}")
        return value

    return read


def boolean(name: str, value: Any) -> bool:  # noqa: ANN401 - a caller may send anything
    """Read true or false. Raises Problem 422."""
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


_MOST_TOKENS = 1_000_000
GENERATION: Final[Mapping[str, Read]] = {
    "temperature": number(0, 2),
    "top_k": integer(0, 1_000_000),
    "top_p": number(0, 1, above=True),
    "typical_p": number(0, 1, above=True),
    "epsilon_cutoff": number(0, 1, below=True),
    "eta_cutoff": number(0, 1, below=True),
    "max_length": integer(1, _MOST_TOKENS),
    "max_new_tokens": integer(1, _MOST_TOKENS),
    "min_length": integer(0, _MOST_TOKENS),
    "min_new_tokens": integer(0, _MOST_TOKENS),
    "do_sample": boolean,
    "early_stopping": _early_stopping,
    "num_beams": integer(1, MAX_BEAMS),
    "num_beam_groups": integer(1, MAX_BEAMS),
    "penalty_alpha": number(0, 1),
    "use_cache": boolean,
}
_GENERATION_NAMES = ("generation_parameters", "generate_kwargs", "generate")
# Hints to a pipeline about its own windows; an answer has no place for the others.
_WITHOUT_EFFECT = frozenset({"chunk_length_s", "stride_length_s", "batch_size", "decoder_kwargs", "return_language"})


def read_parameters(given: Mapping[str, Any]) -> Parameters:
    """Read a `parameters` object; the names of its generation parameters may also stand beside it. Raises Problem."""
    flat, prefix = _flattened(given)
    generation: dict[str, Any] = {}
    read = Parameters()
    for name, value in flat.items():
        where = prefix.get(name, "") + name
        if value is None:
            continue
        if name in GENERATION:
            generation[name] = GENERATION[name](where, value)
        elif name in _WITHOUT_EFFECT:
            read = replace(read, without_effect=(*read.without_effect, name))
        elif name in _OTHERS:
            read = replace(read, **_OTHERS[name](where, value))
        else:
            raise unknown_parameter(where, (*_OTHERS, *GENERATION))
    parameters = GenerationParameters(**generation)
    check_together(parameters)
    return replace(read, generation=parameters)


def _flattened(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Join the generation parameters, under any of their names, with what stands beside them."""
    flat: dict[str, Any] = {}
    prefix: dict[str, str] = {}
    flat |= {name: value for name, value in given.items() if name not in _GENERATION_NAMES and value is not None}
    for name in _GENERATION_NAMES:
        value = given.get(name)
        if value is not None and not isinstance(value, Mapping):
            raise invalid_parameter(name, value, "an object of generation parameters")
        for inner, each in (value or {}).items():
            if each is None:
                continue
            if inner in flat and flat[inner] != each:
                raise invalid_parameter(f"{name}.{inner}", each, f"one value: {flat[inner]!r} was given too")
            flat[inner] = each
            prefix[inner] = f"{name}."
    return flat, prefix


def overridden(given: Mapping[str, Any], by: Mapping[str, Any]) -> dict[str, Any]:
    """Join two sets of parameters; the second wins, also for what it says inside its generation parameters."""
    groups = [by[name] for name in _GENERATION_NAMES if isinstance(by.get(name), Mapping)]
    said = {*by, *(inner for group in groups for inner in group)}
    return {**{name: value for name, value in given.items() if name not in said}, **by}


def read_language(name: str, value: Any) -> str | None:  # noqa: ANN401 - a caller may send anything
    """Read a code or an English name; "auto" and nothing mean: detect. Raises Problem 422."""
    if not isinstance(value, str):
        raise invalid_parameter(name, value, "a language code such as en")
    if value.strip().lower() in {"", "auto", "none", "null"}:
        return None
    code = code_of(value) or (value.lower() if _LANGUAGE.fullmatch(value.lower()) else None)
    if code is None:
        raise invalid_parameter(name, value, "a language code such as en, or its English name")
    return code


def read_prompt(name: str, value: Any) -> str | None:  # noqa: ANN401 - a caller may send anything
    """Read text without control characters that would mean something elsewhere. Raises Problem 422."""
    if not isinstance(value, str) or "\x00" in value or len(value) > MAX_PROMPT_CHARACTERS:
        raise invalid_parameter(name, "(text)", f"a string of at most {MAX_PROMPT_CHARACTERS} characters without NUL")
    return value or None


def read_task(name: str, value: Any) -> Task:  # noqa: ANN401 - a caller may send anything
    """Read transcribe or translate. Raises Problem 422."""
    if not isinstance(value, str) or value not in {"transcribe", "translate"}:
        raise invalid_parameter(name, value, '"transcribe" or "translate"')
    return Task(value)


def read_timestamps(name: str, value: Any) -> Timestamps:  # noqa: ANN401 - a caller may send anything
    """Read return_timestamps as the specification and the pipeline know it. Raises Problem 422."""
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


_OTHERS: Final[Mapping[str, Callable[[str, Any], dict[str, Any]]]] = {
    "return_timestamps": lambda name, value: {"timestamps": read_timestamps(name, value)},
    "language": lambda name, value: {"language": read_language(name, value)},
    "task": lambda name, value: {"task": read_task(name, value)},
    "prompt": lambda name, value: {"prompt": read_prompt(name, value)},
    "diarize": lambda name, value: {"diarize": boolean(name, value)},
    "provider_options": lambda name, value: {"provider_options": _provider_options(name, value)},
}


def check_together(asked: GenerationParameters) -> None:
    """Refuse what contradicts itself on any engine. Raises Problem 422."""
    for low, high in (("min_length", "max_length"), ("min_new_tokens", "max_new_tokens")):
        least, most = getattr(asked, low), getattr(asked, high)
        if least is not None and most is not None and least > most:
            raise invalid_parameter(low, least, f"at most {high}, which is {most}")
    if asked.num_beam_groups and (asked.num_beams or 1) % asked.num_beam_groups:
        raise invalid_parameter(
            "num_beam_groups", asked.num_beam_groups, f"a divisor of num_beams, {asked.num_beams or 1}"
        )
    if asked.do_sample and asked.temperature == 0:
        raise invalid_parameter("temperature", 0, "more than 0 where do_sample is true")
    if asked.penalty_alpha and ((asked.num_beams or 1) > 1 or asked.do_sample or asked.use_cache is False):
        raise invalid_parameter(
            "penalty_alpha", asked.penalty_alpha, "0 with num_beams above 1, do_sample, or use_cache false"
        )


# Fields whose text is text, even where it would do as JSON: a prompt may be "1984".
_TEXT = frozenset({"model", "language", "task", "prompt", "response_format"})


def from_fields(fields: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Read a form's fields, or a query's, as values by name; `x[]`, or a name given more than once, is a list."""
    given: dict[str, list[Any]] = {}
    lists: set[str] = set()
    for name, text in fields:
        bare = name.removesuffix("[]")
        given.setdefault(bare, []).append(text if bare in _TEXT else from_text(text))
        if name != bare:
            lists.add(bare)
    return {name: values if name in lists or len(values) > 1 else values[0] for name, values in given.items()}


def from_text(text: str) -> Any:  # noqa: ANN401 - the point of it
    """Read a query string's or form field's value as the JSON it stands for: 2, 0.5, true, [1], else the text."""
    if text.strip().lower() in {"true", "false"}:
        return text.strip().lower() == "true"
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
