"""Providers' own options: checked against each allow-list, and refused in a sentence of ours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ValidationError

from gateway.problems import Problem, invalid_parameter
from providers.registry import PROVIDERS, is_loaded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Schema = dict[str, Any]
_PREFIX: Final = "Value error, "  # pydantic's, before what a validator of ours says


async def load(names: Iterable[str]) -> None:
    """Import the providers named that nobody has used yet: in a thread, for it holds the event loop for 20 ms."""
    for name in names:
        if name in PROVIDERS and not is_loaded(name):
            await asyncio.to_thread(PROVIDERS.get, name)


def checked(given: Mapping[str, Any]) -> Mapping[str, BaseModel]:
    """Return each provider's options by its name. Raises Problem 422."""
    read: dict[str, BaseModel] = {}
    for name, options in given.items():
        provider = PROVIDERS.get(name)
        if provider is None:
            raise invalid_parameter(f"provider_options.{name}", "(object)", f"one of {', '.join(sorted(PROVIDERS))}")
        try:
            read[name] = provider.options.model_validate(options)
        except ValidationError as error:
            raise _refused(name, provider.options, error) from error
    return read


def _refused(provider: str, options: type[BaseModel], error: ValidationError) -> Problem:
    """Say which option it was, and what it may be: never what it was."""
    fault = error.errors(include_input=False, include_url=False)[0]
    document = options.model_json_schema()
    known: Schema = document.get("properties", {})
    option = str(fault["loc"][0]) if fault["loc"] else None
    if option is None:
        why = "its options are an object" if fault["type"] == "model_type" else fault["msg"].removeprefix(_PREFIX)
        param, said = f"provider_options.{provider}", f"{provider}: {why}"
    elif option in known:
        expected = described(known[option], document.get("$defs", {}))
        param, said = f"provider_options.{provider}.{option}", f"{provider} takes {expected} here"
    else:
        param = f"provider_options.{provider}.{option[:100]}"
        said = f"{provider} has no such option; it has {', '.join(known) or 'none'}"
    return Problem(status=422, type="invalid-parameter", message=f"{param}: {said}", param=param)


def described(schema: Schema, named: Mapping[str, Schema]) -> str:
    """Return in words what a JSON Schema takes. named: those that it may point at."""
    match schema:
        case {"anyOf": several}:
            return " or ".join(described(each, named) for each in several if each.get("type") != "null")
        case {"$ref": address}:
            return described(named[address.rpartition("/")[2]], named)
        case {"type": "array"}:
            size = _span(schema, "minItems", "maxItems")
            return f"a list{f' of {size}' if size else ''}, each {described(schema['items'], named)}"
        case {"type": "object"}:
            return f"an object with {', '.join(schema.get('properties', ())) or 'nothing'}"
        case _:
            return _plain(schema)


_KINDS: Final = {"boolean": "true or false", "integer": "a whole number", "number": "a number", "string": "a text"}


def _plain(schema: Schema) -> str:
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    kind = str(schema.get("type"))
    said = [_KINDS.get(kind, "something else")]
    if size := _span(schema, "minLength", "maxLength"):
        said.append(f"of {size} characters")
    if limits := list(_limits(schema)):
        said.append(" and ".join(limits))
    if "pattern" in schema:
        said.append(f"like {schema['pattern']}")
    return " ".join(said)


def _limits(schema: Schema) -> Iterator[str]:
    """Yield the limits of a number."""
    if "minimum" in schema and "maximum" in schema:
        yield f"from {schema['minimum']:g} to {schema['maximum']:g}"
        return
    for name, words in (
        ("minimum", "at least"),
        ("exclusiveMinimum", "above"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "below"),
    ):
        if name in schema:
            yield f"{words} {schema[name]:g}"


def _span(schema: Schema, least: str, most: str) -> str:
    """Return how many there may be; "" where any number may."""
    low, high = schema.get(least), schema.get(most)
    if high is not None:
        return f"{low} to {high}" if low else f"at most {high}"
    return f"at least {low}" if low else ""
