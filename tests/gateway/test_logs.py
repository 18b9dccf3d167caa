"""One line an event, JSON or text, with nothing in it that a caller or a provider said."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.http_exceptions import BadHttpMessage

from gateway import logs
from gateway.lines import Event, Json
from gateway.observe import Observed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Callable[[], str]]]:
    """Return a function that starts the log in a format, and gives one that ends it and returns what was written."""
    before = (logs.LOG.handlers, logs.LOG.level, logs.LOG.propagate)
    root, hooks = logging.getLogger().handlers, (sys.excepthook, threading.excepthook, sys.unraisablehook)

    def start(format_: str, level: str = "info") -> Callable[[], str]:
        writer = logs.start(format_, level)

        def stop() -> str:
            writer.stop()
            return capsys.readouterr().err

        return stop

    yield start
    logs.LOG.handlers, logs.LOG.level, logs.LOG.propagate = before
    logging.getLogger().handlers = root
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks


def observed(**more: Any) -> Observed:
    return Observed(request_id="id-1", started=0.0, **more)


def test_a_request_is_one_line_of_json(written: Any) -> None:
    stop = written("json")
    done = observed(front="hf", caller="newsroom", model="m", deployment="a/n", attempts=2, upload_bytes=7, audio_s=1.5)
    logs.request_done(done, "200", 0.123456, "/models/{model}")
    (line,) = stop().splitlines()
    fields = json.loads(line)
    assert fields.pop("time").endswith("+00:00")
    assert fields == {
        "level": "info",
        "event": "request",
        "request_id": "id-1",
        "front": "hf",
        "caller": "newsroom",
        "model": "m",
        "deployment": "a/n",
        "attempts": 2,
        "cache": "bypass",
        "upload_bytes": 7,
        "audio_s": 1.5,
        "outcome": "ok",
        "status": "200",
        "problem": "",
        "seconds": 0.1235,
        "path": "/models/{model}",
    }


def test_a_5xx_is_written_at_every_level_with_its_cause(written: Any) -> None:
    stop = written("json", "error")
    logs.request_done(observed(), "404", 0, "none")
    logs.request_done(observed(problem="all-failed", cause="a/n: timeout after 2.00 s"), "502", 2, "/")
    (line,) = stop().splitlines()
    assert json.loads(line)["level"] == "error"
    assert json.loads(line)["cause"] == "a/n: timeout after 2.00 s"


def test_text_is_a_line_for_people(written: Any) -> None:
    stop = written("text")
    logs.event("draining", in_flight=3)
    (line,) = stop().splitlines()
    assert line.endswith("info    draining in_flight=3")


def test_auto_is_json_where_nobody_watches(written: Any) -> None:
    stop = written("auto")
    logs.event("draining", in_flight=3)
    assert json.loads(stop())["event"] == "draining"


def test_a_traceback_says_where_and_not_what(written: Any) -> None:
    """An error's message may quote a transcript, a prompt, a provider's reply."""
    stop = written("json")
    try:
        _fail()
    except KeyError:
        logs.LOG.exception("unexpected", extra={"fields": {"request_id": "id-1"}})
    whole = stop()
    fields = json.loads(whole)
    assert "planted-secret" not in whole
    assert fields["traceback"].splitlines()[0] == "ValueError"
    assert "KeyError" in fields["traceback"]
    assert "test_logs.py" in fields["traceback"]
    assert "_fail" in fields["traceback"]


def _fail() -> None:
    try:
        int("planted-secret")
    except ValueError as error:
        raise KeyError("planted-secret two") from error


def test_whoever_else_handles_events_is_given_whole_records(written: Any) -> None:
    """Of an event that the writer alone is told, no record is made."""
    stop, heard = written("json"), io.StringIO()
    logs.event("alone")
    beside = logging.StreamHandler(heard)
    beside.setFormatter(logging.Formatter("%(name)s %(levelname)s %(threadName)s %(message)s %(fields)s"))
    logs.LOG.addHandler(beside)
    logs.event("draining", logging.WARNING, in_flight=3)
    assert heard.getvalue() == "asr_gateway WARNING MainThread draining {'in_flight': 3}\n"
    assert [json.loads(line)["event"] for line in stop().splitlines()] == ["alone", "draining"]


def test_a_malformed_request_is_an_event_without_its_bytes(written: Any) -> None:
    """The server logs it as an error with a traceback that quotes it, an Authorization header included."""
    stop = written("json")
    error = BadHttpMessage("Authorization: Bearer planted-secret\x00")
    logs.HTTP.error("Error handling request from %s", "127.0.0.1", exc_info=error)
    whole = stop()
    assert "planted-secret" not in whole
    assert (json.loads(whole)["event"], json.loads(whole)["level"]) == ("not_http", "info")


@pytest.mark.parametrize("value", ["\udcff", object()])
def test_a_line_that_cannot_be_written_does_not_end_the_log(value: object, written: Any) -> None:
    stop = written("json")
    logs.event("odd", value=value)
    logs.event("next")
    assert [json.loads(line)["event"] for line in stop().splitlines()] == ["odd", "next"]


def test_the_oldest_of_too_many_lines_are_dropped() -> None:
    """A slow terminal must not hold requests, nor memory."""
    go_on, stream = threading.Event(), io.StringIO()

    class Slow:
        def format(self, record: logging.LogRecord | Event) -> str:
            assert go_on.wait(30)
            return f"dropped {record.fields['lines']}" if hasattr(record, "fields") else record.getMessage()

    writer = logs.Writer(stream, Slow())
    for number in range(25_000):
        writer.handle(logging.LogRecord("asr_gateway", logging.INFO, "", 0, str(number), None, None))
    go_on.set()
    writer.stop()
    lines = stream.getvalue().splitlines()
    dropped = sum(int(line.partition(" ")[2]) for line in lines if line.startswith("dropped"))
    written = [line for line in lines if line.isdecimal()]
    assert written[-1] == "24999"
    assert 10_000 <= len(written) < 20_000
    assert len(written) + dropped == 25_000, "what is lost is counted"


def test_a_log_that_nobody_reads_does_not_end_serving() -> None:
    stream = io.StringIO()
    stream.close()
    writer = logs.Writer(stream, Json())
    writer.handle(logging.LogRecord("asr_gateway", logging.INFO, "", 0, "x", None, None))
    writer.stop()


def test_lines_of_two_processes_do_not_cut_each_other() -> None:
    """They share a pipe, as workers do, and it is full most of the time."""
    text = "from gateway import logs; w = logs.start('json', 'info')"
    command = [sys.executable, "-c", f"{text}; [logs.event('x' * 300) for _ in range(5000)]; w.stop()"]
    ours, theirs = os.pipe()
    with subprocess.Popen(command, stderr=theirs) as one, subprocess.Popen(command, stderr=theirs) as other:
        os.close(theirs)
        while not (is_held_up(one) and is_held_up(other)):
            pass
        whole = b"".join(iter(lambda: os.read(ours, 1000), b""))
    os.close(ours)
    assert [json.loads(line)["event"] for line in whole.splitlines()] == ["x" * 300] * 10_000


def is_held_up(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether one of its threads waits for room in a pipe."""
    return any("pipe_write" in task.read_text() for task in Path(f"/proc/{process.pid}/task").glob("*/wchan"))


# --- whoever writes


def test_a_library_speaks_in_templates_alone(written: Any) -> None:
    """What it puts into them may be anything; what is put together already is left out."""
    stop = written("json")
    logging.getLogger("any.library").warning("no answer from %s", "planted-secret")
    logging.getLogger("any.library").error(f"no answer from {'planted-secret'}")  # noqa: G004 - as libraries do
    whole = stop()
    assert "planted-secret" not in whole
    first, second = map(json.loads, whole.splitlines())
    assert (first["event"], first["logger"], first["template"]) == ("library", "any.library", "no answer from %s")
    assert second["place"].startswith("test_logs:")
    assert "template" not in second


CRASHES = {
    "main": "raise ValueError('planted-secret')",
    "cli": "w.stop(); raise ValueError('planted-secret')",
    "thread": "import threading; t = threading.Thread(target=int, args=('planted-secret',)); t.start(); t.join()",
    "group": "raise ExceptionGroup('planted-secret', [KeyError('planted-secret'), ValueError('planted-secret')])",
    "unraisable": "x = type('X', (), {'__del__': lambda _: int('planted-secret')})(); del x",
    "task": """
import asyncio, gc
async def main():
    async def fails():
        raise ValueError('planted-secret')
    asyncio.get_running_loop().create_task(fails())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()
asyncio.run(main())
w.stop()
""",
}


@pytest.mark.parametrize("crash", CRASHES)
def test_what_ends_a_process_is_a_line_without_its_message(crash: str) -> None:
    code = f"from gateway import logs\nw = logs.start('json', 'error')\n{CRASHES[crash]}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "planted-secret" not in done.stderr + done.stdout
    (line,) = map(json.loads, done.stderr.splitlines())
    assert line["event"] == ("library" if crash == "task" else "crashed")
    assert "ValueError" in line["traceback"]
