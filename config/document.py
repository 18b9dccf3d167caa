"""A configuration's file before anything in it is believed: YAML, each key once, with variables in place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from config.faults import BadConfiguration

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice: YAML would keep the last, and its reader may believe the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return a file of keys with values. Raises BadConfiguration."""
    try:
        document = yaml.load(path.read_text(), _Loader) or {}  # noqa: S506 - it is a SafeLoader
    except OSError as error:
        raise BadConfiguration(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise BadConfiguration(f"{path} cannot be read as YAML: {_fault(error)}") from None
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise BadConfiguration(f"{path}: expected keys such as server, providers and models")
    return document


def _fault(error: Exception) -> str:
    """Say what is wrong and where, without the line itself, which PyYAML would print: it may hold a secret."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"{error.problem}, line {mark.line + 1}, column {mark.column + 1}"
    return "it is not text" if isinstance(error, UnicodeDecodeError) else type(error).__name__


_VARIABLE = re.compile(r"\$\{(\w+)\}")


def with_variables(value: Any, where: str, environ: Mapping[str, str]) -> Any:  # noqa: ANN401 - any YAML value
    """Replace ${VAR} in strings, at any depth. Raises BadConfiguration where one is not set."""
    match value:
        case dict():
            return {key: with_variables(each, f"{where}.{key}".lstrip("."), environ) for key, each in value.items()}
        case list():
            return [with_variables(each, f"{where}[{i}]", environ) for i, each in enumerate(value)]
        case str():
            missing = [name for name in _VARIABLE.findall(value) if name not in environ]
            if missing:
                raise BadConfiguration(f"{where}: the environment variable {missing[0]} is not set")
            return _VARIABLE.sub(lambda match: environ[match[1]], value)
    return value
