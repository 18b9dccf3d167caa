"""How a log record is written: one JSON object, or a line for people, never longer than one write to a pipe.

What is written was named by the gateway's own code. Of a library's record only the place is: its message, like that of
an error, may quote a caller or a provider.
"""

from __future__ import annotations

import re
import sys
import traceback
from datetime import UTC, datetime
from logging import Formatter
from pathlib import Path
from select import PIPE_BUF
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from logging import LogRecord

_MOST_BYTES: Final = PIPE_BUF - 1  # and the line's end: POSIX writes so much in one piece, whoever else writes there
_COLOUR_BYTES: Final = 64
_SHORTEST: Final = 24  # characters of a value that is shortened
_GAP: Final = " ... "
_SHOWN_OF_A_GROUP: Final = 3  # errors
_KEY: Final = re.compile(r"hf_gw_\w+")  # callers put keys where names belong
_ROOTS: Final = sorted({str(Path(each).resolve()) + "/" for each in sys.path if each}, key=len, reverse=True)
_COLUMNS: Final = (("status", 9), ("seconds", 8), ("cache", 6), ("model", 26), ("deployment", 34))
_RED, _GREEN, _YELLOW, _DIM, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[2m", "\x1b[0m"
_LEVEL_COLOURS: Final = {"warning": _YELLOW, "error": _RED, "critical": _RED}
_STATUS_COLOURS: Final = {"2": _GREEN, "3": _GREEN, "4": _YELLOW, "5": _RED, "c": _YELLOW}


class Event(msgspec.Struct):
    """An event of ours: of all that a log record has, what a line is made of."""

    msg: str
    levelname: str
    created: float  # Unix time
    fields: dict[str, Any]
    exc_info: None = None


class Lines(Protocol):
    """A way to write them."""

    def format(self, record: LogRecord | Event) -> str:
        """Return the line."""
        ...


class Json(Formatter):
    """One JSON object a line."""

    def format(self, record: LogRecord | Event) -> str:
        fields = _fields(record)
        line = _encoded(fields)
        return line if _fits(line, _MOST_BYTES) else _encoded(_bounded(fields, _MOST_BYTES))


class Text(Formatter):
    """A line for people; a traceback below it."""

    def __init__(self, paint: Callable[[str, str], str]) -> None:
        super().__init__()
        self._paint = paint

    def format(self, record: LogRecord | Event) -> str:
        fields = _bounded(_fields(record), _MOST_BYTES - _COLOUR_BYTES)
        trace = fields.pop("traceback", None)
        time, level, event = fields.pop("time"), fields.pop("level"), fields.pop("event")
        words = [self._paint(time[11:23], _DIM), self._paint(f"{level:7}", _LEVEL_COLOURS.get(level, "")), event]
        words += self._columns(fields) if event == "request" else []
        words += [f"{name}={_shown(value)}" for name, value in fields.items() if not _is_empty(value)]
        line = " ".join(words)
        return f"{line}\n{trace}" if trace else line

    def _columns(self, fields: dict[str, Any]) -> Iterator[str]:
        """Yield a request's main values, below those of the request before."""
        for name, width in _COLUMNS:
            value = fields.pop(name, None)
            text = f"{value:.3f}s" if isinstance(value, float) else _shown("-" if _is_empty(value) else value)
            column = f"{text:>{width}}" if name in {"status", "seconds"} else f"{text:{width}}"
            yield self._paint(column, _STATUS_COLOURS.get(text[:1], "")) if name == "status" else column
        if isinstance(tries := fields.pop("tries", None), list) and (len(tries) > 1 or fields.get("outcome") != "ok"):
            fields["tries"] = "; ".join(_try(each) for each in tries)


def painted(text: str, colour: str) -> str:
    """Return a text in a colour, for a terminal that shows it."""
    return f"{colour}{text}{_PLAIN}" if colour else text


def unpainted(text: str, colour: str) -> str:
    """Return a text as it is, for a file, a pipe, or who wants no colours."""
    del colour
    return text


def place_of(error: BaseException) -> str:
    """Say of what kind an error is and where it came from, in a few words."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {_place(frames[-1])}" if frames else type(error).__name__


def _fields(record: LogRecord | Event) -> dict[str, Any]:
    event, own = _told(record)
    fields: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "event": event,
        **own,
    }
    if record.exc_info and record.exc_info[1]:
        fields["traceback"] = "\n".join(_trace(record.exc_info[1]))
    return fields


def _told(record: LogRecord | Event) -> tuple[str, dict[str, Any]]:
    """Return what happened, and what is said of it."""
    if isinstance(record, Event):
        return record.msg, record.fields
    own: dict[str, Any] | None = getattr(record, "fields", None)
    return ("library", _of_a_library(record)) if own is None else (record.getMessage(), own)


def _of_a_library(record: LogRecord) -> dict[str, Any]:
    """Return who speaks, and its words before anything was put into them."""
    words = {"template": record.msg} if record.args and isinstance(record.msg, str) else {}
    return {"logger": record.name, "place": f"{record.module}:{record.lineno}", **words}


def _trace(error: BaseException) -> Iterator[str]:
    """Yield kinds and places, the first cause first. Messages are left out: one may quote a caller."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _trace(before)
    for each in error.exceptions[:_SHOWN_OF_A_GROUP] if isinstance(error, BaseExceptionGroup) else ():
        yield from _trace(each)
    yield type(error).__name__
    yield from (f"  {_place(frame)} {frame.name}" for frame in traceback.extract_tb(error.__traceback__))


def _place(frame: traceback.FrameSummary) -> str:
    root = next((each for each in _ROOTS if frame.filename.startswith(each)), "")
    return f"{frame.filename.removeprefix(root)}:{frame.lineno}"


def _encoded(fields: dict[str, Any]) -> str:
    return _KEY.sub("hf_gw_[left out]", msgspec.json.encode(fields).decode())


def _fits(line: str, most_bytes: int) -> bool:
    """Tell whether a line is short enough; most are so by far, and need not be encoded to know it."""
    return len(line) * 4 <= most_bytes or len(line.encode()) <= most_bytes


def _bounded(fields: dict[str, Any], most_bytes: int) -> dict[str, Any]:
    """Return the fields, the longest of them without its middle where all together would not fit."""
    while (excess := len(_encoded(fields).encode()) - most_bytes) > 0:
        name, value = max(fields.items(), key=lambda each: len(_plain(each[1])))
        if len(_plain(value)) <= _SHORTEST:
            return {each: fields[each] for each in ("time", "level", "event")}
        fields[name] = _without_middle(_plain(value), excess)
    return fields


def _plain(value: object) -> str:
    return value if isinstance(value, str) else _encoded({"": value})


def _without_middle(text: str, excess: int) -> str:
    kept = max(_SHORTEST - len(_GAP), len(text) - excess - len(_GAP))
    head = kept // 2
    return text[:head] + _GAP + text[len(text) - (kept - head) :]


def _try(each: dict[str, Any]) -> str:
    reason = f" ({each['reason']})" if each.get("reason") else ""
    return f"{each['kind']} {each['deployment']} {each['outcome']} {each['seconds']:.3f}s{reason}"


def _shown(value: object) -> str:
    """Return a value so that it cannot move a terminal's cursor, in quotes where it has spaces."""
    text = "".join(each if each.isprintable() else repr(each)[1:-1] for each in _listed(value))
    text = _KEY.sub("hf_gw_[left out]", text)
    return f'"{text}"' if " " in text else text


def _is_empty(value: object) -> bool:
    return value is None or value == ""


def _listed(value: object) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}:{_listed(each)}" for name, each in value.items())
    return ",".join(map(_listed, value)) if isinstance(value, list | tuple) else str(value)
