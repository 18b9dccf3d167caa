"""One line a request, as JSON or for a terminal, written by a thread of its own.

A line is a fixed event name and fields. Audio, transcripts, prompts and credentials are in none of them.
"""

from __future__ import annotations

import logging
import logging.handlers
import queue
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from gateway.observe import Observed

LOG = logging.getLogger("asr_gateway")
_WAITING_LINES = 10_000  # beyond this lines are dropped rather than requests held


class _Queue(logging.handlers.QueueHandler):
    """Drops a line where the writer cannot keep up."""

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped = getattr(self, "dropped", 0) + 1

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # formatted in the writer's thread


class _Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return msgspec.json.encode(_fields(record, self)).decode()


class _Text(logging.Formatter):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record, self)
        traceback = fields.pop("traceback", None)
        time, level, event = fields.pop("time"), fields.pop("level"), fields.pop("event")
        line = f"{time[11:23]} {level:7} {event} " + " ".join(f"{name}={value}" for name, value in fields.items())
        return f"{line}\n{traceback}" if traceback else line


def _fields(record: logging.LogRecord, formatter: logging.Formatter) -> dict[str, Any]:
    fields = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "event": record.getMessage(),
        **getattr(record, "fields", {}),
    }
    if record.exc_info:
        fields["traceback"] = formatter.formatException(record.exc_info)
    return fields


def start(format_: str, level: str) -> logging.handlers.QueueListener:
    """Begin writing to stderr. Stop the listener that is returned when everything else has ended."""
    as_text = format_ == "text" or (format_ == "auto" and sys.stderr.isatty())
    writer = logging.StreamHandler(sys.stderr)
    writer.setFormatter(_Text() if as_text else _Json())
    lines: queue.Queue[logging.LogRecord] = queue.Queue(_WAITING_LINES)
    LOG.handlers = [_Queue(lines)]
    LOG.setLevel(level.upper())
    LOG.propagate = False
    listener = logging.handlers.QueueListener(lines, writer)
    listener.start()
    return listener


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
        upload_bytes=observed.upload_bytes,
        audio_s=round(observed.audio_s, 3) if observed.audio_s is not None else None,
        status=status,
        problem=observed.problem,
        seconds=round(seconds, 4),
        path=path,
    )
