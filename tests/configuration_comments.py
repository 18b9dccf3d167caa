"""What a key of the configuration means: the comment beside it, or above it, where config/ declares it."""

from __future__ import annotations

import ast
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from typing import Any, get_args


def meaning(section: type, name: str, annotation: Any, inner: type | None) -> str:
    """Return what a key of a section means.

    inner: the section that the key holds, whose docstring will do.
    """
    text = next((found for owner in section.__mro__ if (found := _comments(owner).get(name))), "")
    if not text and inner is not None:
        text = (inspect.getdoc(inner) or "").partition("\n")[0]
    told = [sentence(text), *_choices(annotation)]
    return " ".join(filter(None, told)).replace("|", "\\|")


def _choices(annotation: Any) -> Iterator[str]:
    """Yield what each member of an enumeration means, where it says."""
    for each in (annotation, *get_args(annotation)):
        if isinstance(each, type) and issubclass(each, StrEnum):
            comments = _comments(each)
            told = [f"`{member.value}`: {comments[member.name]}" for member in each if member.name in comments]
            yield "; ".join(told) + "." if told else ""


@cache
def _comments(owner: type) -> dict[str, str]:
    """Return the comment beside or above each name of a class, as it stands in the source."""
    if owner.__module__.partition(".")[0] != "config":
        return {}
    source = textwrap.dedent(inspect.getsource(owner))
    comments = {
        token.start[0]: (token.string.removeprefix("#").strip(), not token.line[: token.start[1]].strip())
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and not re.match(r"# ?(noqa|type:)", token.string)
    }
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    return {name: text for name, first, last in _names(tree) if (text := _beside(comments, first, last))}


def _names(tree: ast.ClassDef) -> Iterator[tuple[str, int, int]]:
    for each in tree.body:
        target = (
            each.target
            if isinstance(each, ast.AnnAssign)
            else each.targets[0]
            if isinstance(each, ast.Assign)
            else None
        )
        if isinstance(target, ast.Name):
            yield target.id, each.lineno, each.end_lineno or each.lineno


def _beside(comments: dict[int, tuple[str, bool]], first: int, last: int) -> str:
    """Return the comments on the lines of a statement, after those that stand alone above it."""
    lines: list[str] = []
    above = first - 1
    while comments.get(above, ("", False))[1]:
        lines.insert(0, comments[above][0])
        above -= 1
    lines += [comments[line][0] for line in range(first, last + 1) if line in comments]
    return " ".join(lines)


def sentence(text: str) -> str:
    """Return a comment as a sentence."""
    text = " ".join(text.split())
    if not text:
        return ""
    text = re.sub(r"\bNone:", "unset:", text)
    text = text if text.startswith("mode ") else text[0].upper() + text[1:]
    return text if text.endswith((".", ":")) else f"{text}."
