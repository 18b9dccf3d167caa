"""The Hugging Face specification's parameters: each typed and range-checked before any model is touched.

Source: @huggingface/tasks 0.21.54 `automatic-speech-recognition/spec/input.json`; ranges as transformers 5.23 enforces
them, or should (it answers with TypeError, ZeroDivisionError and RuntimeError after the audio was decoded).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from gateway.api.values import (
    BOOLEAN,
    EARLY_STOPPING,
    LANGUAGE,
    PROMPT,
    PROVIDER_OPTIONS,
    TASK,
    TIMESTAMPS,
    Value,
    integer,
    number,
)
from gateway.problems import invalid_parameter, unknown_parameter
from providers.types import NO_GENERATION, GenerationParameters, Task, Timestamps

MAX_BEAMS = 16  # each multiplies a decoder's memory


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asked for beside the audio."""

    task: Task = Task.TRANSCRIBE
    language: str | None = None
    prompt: str | None = None
    timestamps: Timestamps = Timestamps.NONE
    generation: GenerationParameters = NO_GENERATION
    diarize: bool = False
    provider_options: Mapping[str, Any] = msgspec.field(default_factory=dict)  # still unchecked
    without_effect: tuple[str, ...] = ()  # accepted, and named in the answer as ignored


NOTHING_ASKED: Final = Parameters()
_MOST_TOKENS = 1_000_000
GENERATION: Final[Mapping[str, Value[Any]]] = {
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
    "do_sample": BOOLEAN,
    "early_stopping": EARLY_STOPPING,
    "num_beams": integer(1, MAX_BEAMS),
    "num_beam_groups": integer(1, MAX_BEAMS),
    "penalty_alpha": number(0, 1),
    "use_cache": BOOLEAN,
}
OTHERS: Final[Mapping[str, tuple[str, Value[Any]]]] = {
    "return_timestamps": ("timestamps", TIMESTAMPS),
    "language": ("language", LANGUAGE),
    "task": ("task", TASK),
    "prompt": ("prompt", PROMPT),
    "diarize": ("diarize", BOOLEAN),
    "provider_options": ("provider_options", PROVIDER_OPTIONS),
}
"""What stands beside the generation parameters: by the caller's name, the field of Parameters and what it may be."""
GENERATION_NAMES = ("generation_parameters", "generate_kwargs", "generate")
# Hints to a pipeline about its own windows; an answer has no place for the others.
WITHOUT_EFFECT = frozenset({"chunk_length_s", "stride_length_s", "batch_size", "decoder_kwargs", "return_language"})


def read_parameters(given: Mapping[str, Any]) -> Parameters:
    """Read a `parameters` object; the names of its generation parameters may also stand beside it. Raises Problem."""
    if not given:  # as most requests do
        return NOTHING_ASKED
    flat, prefix = _flattened(given)
    generation: dict[str, Any] = {}
    read = Parameters()
    for name, value in flat.items():
        where = prefix.get(name, "") + name
        if value is None:
            continue
        if name in GENERATION:
            generation[name] = GENERATION[name](where, value)
        elif name in WITHOUT_EFFECT:
            read = replace(read, without_effect=(*read.without_effect, name))
        elif name in OTHERS:
            field_, reader = OTHERS[name]
            read = replace(read, **{field_: reader(where, value)})
        else:
            raise unknown_parameter(where, (*OTHERS, *GENERATION))
    parameters = GenerationParameters(**generation)
    check_together(parameters)
    return replace(read, generation=parameters)


def _flattened(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Join the generation parameters, under any of their names, with what stands beside them."""
    flat: dict[str, Any] = {}
    prefix: dict[str, str] = {}
    flat |= {name: value for name, value in given.items() if name not in GENERATION_NAMES and value is not None}
    for name in GENERATION_NAMES:
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
    if not by:
        return dict(given)
    groups = [by[name] for name in GENERATION_NAMES if isinstance(by.get(name), Mapping)]
    said = {*by, *(inner for group in groups for inner in group)}
    return {**{name: value for name, value in given.items() if name not in said}, **by}


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
