"""One line a request, as JSON or for a terminal, written by a thread of its own.

A line is a fixed event name and fields; `gateway.lines` says how it is written. Audio, transcripts, prompts and
credentials are in none of them.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import deque
from contextlib import suppress
from select import PIPE_BUF
from time import time  # noqa: TID251 - as logging has it, of every record
from typing import TYPE_CHECKING, Any, TextIO

from aiohttp.http_exceptions import HttpProcessingError

from gateway.lines import Event, Json, Text, painted, unpainted
from providers.local.loading import Download, NotCompiled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from gateway.dispatch.answers import Attempt
    from gateway.engines import Loaded
    from gateway.lines import Lines
    from gateway.observe import Observed

LOG = logging.getLogger("asr_gateway")
HTTP = LOG.getChild("http")  # for aiohttp's own server
_WAITING_LINES = 10_000
_EVERY_S = 0.1
_SHOWN_TRIES = 8  # of a request; more are counted alone
_LONGEST_NAME = 96


class Writer(logging.Handler):
    """Keeps records and writes them in batches from a thread of its own.

    Waking that thread for each line costs a request more than everything else the log does; ten times a second costs
    nothing. Lines beyond what may wait are dropped, the oldest first.
    """

    def __init__(self, stream: TextIO, lines: Lines) -> None:
        super().__init__()
        self._stream = stream
        self._lines = lines
        self._waiting: deque[logging.LogRecord | Event] = deque(maxlen=_WAITING_LINES)
        self._dropped = 0
        self._writing = threading.RLock()  # a crash may come while its own thread writes
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="asr-log", daemon=True)
        self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Keep a record that comes by way of logging."""
        kept = bool(self.filter(record))
        if kept:
            self.keep(record)
        return kept

    def keep(self, record: logging.LogRecord | Event) -> None:
        """Keep it until it is written. A deque's append needs none of the lock that logging would take."""
        self._dropped += len(self._waiting) == _WAITING_LINES
        self._waiting.append(record)

    def write_now(self, record: logging.LogRecord) -> None:
        """Write what waits and this, from the thread that calls: the last words of a process that ends."""
        self._waiting.append(record)
        self._write()

    def stop(self) -> None:
        """Write what still waits, and end."""
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._ended.wait(_EVERY_S):
            self._write()
        self._write()

    def _line(self, record: logging.LogRecord | Event) -> str:
        try:
            return self._lines.format(record)
        except (TypeError, ValueError):  # half a surrogate pair, or what is no JSON: the thread must outlive it
            record.fields = {}
            return self._lines.format(record)

    def _write(self) -> None:
        with self._writing, suppress(OSError, ValueError):  # nobody reads the log any more: serving goes on
            for batch in _batches([self._line(record) + "\n" for record in self._taken()]):
                self._stream.write(batch)
                self._stream.flush()

    def _taken(self) -> Iterator[logging.LogRecord | Event]:
        if self._dropped:
            lost, self._dropped = self._dropped, 0
            yield _event("log_dropped", logging.ERROR, {"lines": lost})
        while self._waiting:
            yield self._waiting.popleft()


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


def _name_what_is_no_http(record: logging.LogRecord) -> bool:
    """Turn aiohttp's traceback for a malformed request, which quotes it, into an event."""
    if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
        record.msg, record.args, record.exc_info, record.fields = "not_http", (), None, {}
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True


HTTP.addFilter(_name_what_is_no_http)


def start(format_: str, level: str) -> Writer:
    """Begin writing to stderr. Stop the writer that is returned when everything else has ended.

    Libraries' warnings go the same way, and so does what ends a thread or the process: written by Python itself, both
    would quote what is in the error's message.
    """
    is_terminal = sys.stderr.isatty()
    colourful = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    as_text = format_ == "text" or (format_ == "auto" and is_terminal)
    writer = Writer(sys.stderr, Text(painted if colourful else unpainted) if as_text else Json())
    LOG.handlers = [writer]
    LOG.setLevel(level.upper())
    LOG.propagate = False
    logging.getLogger().handlers = [writer]
    _hook_crashes(writer)
    return writer


def _hook_crashes(writer: Writer) -> None:
    def crashed(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        writer.write_now(_made("crashed", logging.CRITICAL, {}, (kind, error or kind(), trace)))

    def main_crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, Exception):  # not who typed Ctrl-C
            crashed(kind, error, trace)

    sys.excepthook = main_crashed
    threading.excepthook = lambda told: crashed(told.exc_type, told.exc_value, told.exc_traceback)
    sys.unraisablehook = lambda told: crashed(told.exc_type, told.exc_value, told.exc_traceback)


def _made(name: str, level: int, fields: dict[str, object], exc_info: Any = None) -> logging.LogRecord:  # noqa: ANN401 - as sys.exc_info gives it
    record = logging.LogRecord(LOG.name, level, "", 0, name, (), exc_info)
    record.fields = fields
    return record


def _event(name: str, level: int, fields: dict[str, object]) -> Event:
    return Event(msg=name, levelname=logging.getLevelName(level), created=time(), fields=fields)


def event(name: str, level: int = logging.INFO, **fields: object) -> None:
    """Log an event. A whole record is made of it, at five times the price, where anybody but the writer handles it."""
    if not LOG.isEnabledFor(level):
        return
    match LOG.handlers:
        case [Writer() as writer]:
            writer.keep(_event(name, level, fields))
        case _:
            LOG.handle(_made(name, level, fields))


def model_load(model: str, engine: str, told: Download | NotCompiled | Loaded | Exception | None) -> None:
    """Log that a local model begins to be loaded, how far a download is, or how that ended. From any thread.

    One that an engine cannot load another may: whether it is missing is told elsewhere.
    """
    match told:
        case None:
            event("model_loading", model=model, engine=engine)
        case Download():
            received, whole = told
            event("model_downloading", model=model, engine=engine, bytes=received, of_bytes=whole)
        case NotCompiled(reason):
            event("model_not_compiled", logging.WARNING, model=model, engine=engine, reason=reason)
        case Exception():
            event("model_not_loaded", model=model, engine=engine, reason=str(told))
        case _:
            event("model_loaded", model=model, engine=engine, seconds=round(told.seconds, 3), bytes=told.size_bytes)


def request_done(observed: Observed, status: str, seconds: float, path: str) -> None:
    """Log a request at its end. A 5xx is written at every level: its cause must be found."""
    event(
        "request",
        logging.ERROR if status.startswith("5") else logging.INFO,
        request_id=observed.request_id,
        **({"trace_id": observed.trace_id} if observed.trace_id else {}),
        front=observed.front,
        caller=observed.caller,
        model=observed.model,
        deployment=observed.deployment[:_LONGEST_NAME],
        attempts=observed.attempts,
        **({"parts": observed.parts} if observed.parts else {}),
        **_tries(observed.tries),
        cache=observed.cache,
        upload_bytes=observed.upload_bytes,
        audio_s=round(observed.audio_s, 3) if observed.audio_s is not None else None,
        outcome=observed.outcome(status),
        status=status,
        problem=observed.problem,
        **({"cause": observed.cause} if observed.cause else {}),
        seconds=round(seconds, 4),
        **{f"{stage}_s": round(took_s, 4) for stage, took_s in observed.stage_s.items()},
        path=path,
    )


def _tries(made: list[Attempt]) -> dict[str, object]:
    """Return what became of each call, the latest where there were many."""
    if not made:
        return {}
    more = {"tries_before": len(made) - _SHOWN_TRIES} if len(made) > _SHOWN_TRIES else {}
    return {**more, "tries": [_try(each) for each in made[-_SHOWN_TRIES:]]}


def _try(made: Attempt) -> dict[str, object]:
    return {
        "deployment": made.deployment[:_LONGEST_NAME],
        "kind": made.kind,
        "outcome": made.outcome,
        **({"reason": made.reason[:_LONGEST_NAME]} if made.reason else {}),
        **({"http_status": made.http_status} if made.http_status is not None else {}),
        "seconds": round(made.seconds, 4),
    }
