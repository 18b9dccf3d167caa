"""What may stand at a key of the configuration, in words: its type and unit, its limits, its default."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel, BeforeValidator, ByteSize, SecretStr
from pydantic.fields import FieldInfo

from config.reliability import _hedge_after
from config.units import moment, seconds

_WORDS: dict[object, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    ByteSize: "size",
    SecretStr: "secret text",
    datetime: "moment",
    Any: "value",
}
_READ_BY = {seconds: "duration", moment: "moment", _hedge_after: "`p50` to `p99`, duration or `off`"}
_STEPS_S = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def what(annotation: Any, metadata: list[Any]) -> str:  # noqa: PLR0911 - a kind each
    """Return the type and unit."""
    read = next((each.func for each in metadata if isinstance(each, BeforeValidator)), None)
    if read in _READ_BY:
        return _READ_BY[read]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return what(inner[0], list(inner[1:]))
    if origin in (Union, UnionType):
        return what(*_first(annotation))
    if origin is Literal:
        return " \\| ".join(f"`{each}`" for each in inner)
    if origin is tuple:
        return f"list of {what(inner[0], [])}"
    if origin in (dict, Mapping):
        return f"names with a {what(inner[1], [])} each"
    if issubclass(annotation, StrEnum):
        return " \\| ".join(f"`{each}`" for each in annotation)
    return "section" if issubclass(annotation, BaseModel) else _WORDS[annotation]


def _first(annotation: Any) -> tuple[Any, list[Any]]:
    """Return what a union is besides None."""
    return next((each, []) for each in get_args(annotation) if each is not NoneType)


def section_in(annotation: Any, name: str) -> tuple[type[BaseModel] | None, tuple[str, ...]]:
    """Return the section that a key holds, and the steps to it: its name, and [] or NAME where there are several."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, (name,)
    if origin is tuple or origin is dict:
        found, _ = section_in(inner[0] if origin is tuple else inner[1], name)
        return found, (name, "[]" if origin is tuple else "NAME")
    for each in inner if origin in (Union, UnionType, Annotated) else ():
        found, steps = section_in(each, name)
        if found is not None:
            return found, steps
    return None, ()


def limits(annotation: Any, metadata: list[Any]) -> str:
    """Return the bounds, or the pattern."""
    told = [_limit(each) for each in metadata]
    if get_origin(annotation) is Annotated:
        told += [_limit(each) for each in get_args(annotation)[1:]]
    if get_origin(annotation) in (Union, UnionType):
        told.append(limits(*_first(annotation)))
    return ", ".join(filter(None, told))


def _limit(each: Any) -> str:  # noqa: PLR0911 - a kind each
    match each:
        case Ge():
            return f"at least {each.ge}"
        case Gt():
            return f"above {each.gt}"
        case Le():
            return f"at most {_number(each.le)}"
        case Lt():
            return f"below {each.lt}"
        case MinLen():
            return f"at least {each.min_length}"
        case MaxLen():
            return f"at most {each.max_length}"
        case FieldInfo():
            return ", ".join(filter(None, map(_limit, each.metadata)))
    pattern = getattr(each, "pattern", None)
    return f"`{pattern}`".replace("|", "\\|") if pattern else ""


def _number(value: Any) -> str:
    return f"{value:,.0f}".replace(",", " ") if value >= 10_000 else str(value)


def default(info: FieldInfo) -> str:
    """Return what holds where nothing is written."""
    if info.is_required():
        return "required"
    return _shown(info.default, what(info.annotation, info.metadata))


def _shown(value: Any, what_: str) -> str:  # noqa: PLR0911 - a kind each
    if isinstance(value, BaseModel) or value is None or value == ():
        return {(): "`[]`"}.get(value, "") if not isinstance(value, BaseModel) else ""
    if isinstance(value, ByteSize):
        return f"`{value.human_readable(decimal=False, separator='').removesuffix('.0')}`".replace(".0", "")
    if isinstance(value, SecretStr):
        return f"`{value.get_secret_value()}`"
    if what_ == "duration":
        return f"`{_duration(value)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(repr, value))}]`".replace("'", '"')
    return "`{}`" if value == {} else f"`{value}`"


def _duration(value_s: float) -> str:
    for step, unit in _STEPS_S:
        if value_s >= step and value_s % step == 0 and (unit != "m" or value_s >= 300):
            return f"{value_s / step:g}{unit}"
    return f"{value_s:g}s"
