"""One line a request, as JSON or for a terminal, written by a thread of its own.

A line is a fixed event name and fields. Audio, transcripts, prompts and credentials are in none of them.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from select import PIPE_BUF
from typing import TYPE_CHECKING, Any, TextIO

import msgspec
from aiohttp.http_exceptions import HttpProcessingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.observe import Observed

LOG = logging.getLogger("asr_gateway")
HTTP = LOG.getChild("http")  # for aiohttp's own server
_WAITING_LINES = 10_000
_EVERY_S = 0.1


class Writer(logging.Handler):
    """Keeps records and writes them in batches from a thread of its own.

    Waking that thread for each line costs a request more than everything else the log does; ten times a second costs
    nothing. Lines beyond what may wait are dropped, the oldest first.
    """

    def __init__(self, stream: TextIO, formatter: logging.Formatter) -> None:
        super().__init__()
        self._stream = stream
        self._lines = formatter
        self._waiting: deque[logging.LogRecord] = deque(maxlen=_WAITING_LINES)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="asr-log", daemon=True)
        self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Keep the record. A deque's append needs none of the lock that logging would take."""
        kept = bool(self.filter(record))
        if kept:
            self._waiting.append(record)
        return kept

    def stop(self) -> None:
        """Write what still waits, and end."""
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._ended.wait(_EVERY_S):
            self._write()
        self._write()

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self._lines.format(record)
        except (TypeError, ValueError):  # half a surrogate pair, or what is no JSON: the thread must outlive it
            record.fields = {}
            return self._lines.format(record)

    def _write(self) -> None:
        lines = []
        while self._waiting:
            lines.append(self._line(self._waiting.popleft()) + "\n")
        with suppress(OSError, ValueError):  # nobody reads the log any more: serving goes on
            for batch in _batches(lines):
                self._stream.write(batch)
                self._stream.flush()


def _batches(lines: list[str]) -> Iterator[str]:
    """Yield whole lines together, as many as one write takes without being cut.

    Several workers write to one pipe: more at once than POSIX writes in one piece would come between another's lines
    wherever the pipe was full.
    """
    batch: list[str] = []
    size = 0
    for line in lines:
        length = len(line.encode(errors="replace"))
        if batch and size + length > PIPE_BUF:
            yield "".join(batch)
            batch, size = [], 0
        batch.append(line)
        size += length
    if batch:
        yield "".join(batch)


class _Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return msgspec.json.encode(_fields(record)).decode()


class _Text(logging.Formatter):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        traceback = fields.pop("traceback", None)
        time, level, event = fields.pop("time"), fields.pop("level"), fields.pop("event")
        line = f"{time[11:23]} {level:7} {event} " + " ".join(f"{name}={value}" for name, value in fields.items())
        return f"{line}\n{traceback}" if traceback else line


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "event": record.getMessage(),
        **getattr(record, "fields", {}),
    }
    if record.exc_info and record.exc_info[1]:
        fields["traceback"] = _trace(record.exc_info[1])
    return fields


def _trace(error: BaseException) -> str:
    """Say what kind of error it is and where it came from. Its message is left out: it may quote a caller."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return "\n".join([*([_trace(before)] if before else []), type(error).__name__, *lines])


def _name_what_is_no_http(record: logging.LogRecord) -> bool:
    """Turn aiohttp's traceback for a malformed request, which quotes it, into an event."""
    if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
        record.msg, record.args, record.exc_info = "not_http", (), None
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True


HTTP.addFilter(_name_what_is_no_http)


def start(format_: str, level: str) -> Writer:
    """Begin writing to stderr. Stop the writer that is returned when everything else has ended."""
    as_text = format_ == "text" or (format_ == "auto" and sys.stderr.isatty())
    writer = Writer(sys.stderr, _Text() if as_text else _Json())
    LOG.handlers = [writer]
    LOG.setLevel(level.upper())
    LOG.propagate = False
    return writer


def event(name: str, level: int = logging.INFO, **fields: object) -> None:
    """Log an event."""
    LOG.log(level, name, extra={"fields": fields})


def request_done(observed: Observed, status: str, seconds: float, path: str) -> None:
    """Log a request at its end."""
    event(
        "request",
        logging.WARNING if status.startswith("5") else logging.INFO,
        request_id=observed.request_id,
        front=observed.front,
        caller=observed.caller,
        model=observed.model,
        deployment=observed.deployment,
        attempts=observed.attempts,
        cache=observed.cache,
        upload_bytes=observed.upload_bytes,
        audio_s=round(observed.audio_s, 3) if observed.audio_s is not None else None,
        status=status,
        problem=observed.problem,
        **({"cause": observed.cause} if observed.cause else {}),
        seconds=round(seconds, 4),
        **{f"{stage}_s": round(took_s, 4) for stage, took_s in observed.stage_s.items()},
        path=path,
    )
