"""A line as JSON or for people: whole in one write, harmless to a terminal, easy to read."""

from __future__ import annotations

import json
import logging
from select import PIPE_BUF
from typing import Any

import pytest

from gateway.keyring import KEY_BEGINS
from gateway.lines import Json, Text, painted, place_of, unpainted

REQUEST: dict[str, Any] = {
    "request_id": "id-1",
    "caller": "newsroom",
    "model": "openai/whisper-large-v3",
    "deployment": "gpu-1/whisper",
    "attempts": 2,
    "tries": [
        {"deployment": "fal/whisper", "kind": "first", "outcome": "unavailable", "reason": "no", "seconds": 0.25},
        {"deployment": "gpu-1/whisper", "kind": "failover", "outcome": "ok", "seconds": 1.5},
    ],
    "cache": "miss",
    "audio_s": 3.2,
    "outcome": "ok",
    "status": "200",
    "problem": "",
    "seconds": 1.7512,
}


def record(name: str = "request", error: BaseException | None = None, **fields: Any) -> logging.LogRecord:
    exc_info = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord("asr_gateway", logging.INFO, "", 0, name, (), exc_info)
    made.fields = fields
    return made


def text(*args: Any, **fields: Any) -> str:
    return Text(unpainted).format(record(*args, **fields))


def test_a_request_is_read_from_left_to_right() -> None:
    line = text(**REQUEST)
    assert line[13:].split() == [
        *("info", "request", "200", "1.751s", "miss", "openai/whisper-large-v3", "gpu-1/whisper"),
        *("request_id=id-1", "caller=newsroom", "attempts=2", "audio_s=3.2", "outcome=ok"),
        *('tries="first', "fal/whisper", "unavailable", "0.250s", "(no);"),
        *("failover", "gpu-1/whisper", "ok", '1.500s"'),
    ]


def test_requests_stand_below_each_other() -> None:
    other = {**REQUEST, "status": "cancelled", "seconds": 120.0, "cache": "bypass", "model": "", "deployment": ""}
    lines = [text(**REQUEST), text(**other), text(**{**REQUEST, "cache": "joined"})]
    assert len({line.index("request_id=") for line in lines}) == 1


def test_one_call_that_worked_needs_no_telling() -> None:
    assert "tries=" not in text(**{**REQUEST, "tries": REQUEST["tries"][1:]})
    assert "tries=" in text(**{**REQUEST, "tries": REQUEST["tries"][1:], "outcome": "malformed"})


@pytest.mark.parametrize(("status", "colour"), [("200", "32"), ("429", "33"), ("502", "31"), ("cancelled", "33")])
def test_a_terminal_shows_in_colour_how_it_went(status: str, colour: str) -> None:
    fields = {**REQUEST, "status": status}
    assert f"\x1b[{colour}m{status:>9}\x1b[0m" in Text(painted).format(record(**fields))
    assert "\x1b" not in Text(unpainted).format(record(**fields))


def test_nothing_moves_a_terminals_cursor() -> None:
    line = text("odd", value="a\x1b[2Jb\r\nc", deep={"x": ["\x07"]}, many=(1, 2))
    assert line.endswith(r"value=a\x1b[2Jb\r\nc deep=x:\x07 many=1,2")


@pytest.mark.parametrize("value", ["x" * 9000, '"' * 9000, "\u20ac" * 9000, ["name"] * 3000, {"a": "b" * 9000}])
@pytest.mark.parametrize("form", [Json(), Text(unpainted), Text(painted)])
def test_a_line_is_never_longer_than_one_write(value: object, form: logging.Formatter) -> None:
    """Else another process' line would come between wherever the pipe is full."""
    line = form.format(record("odd", request_id="id-1", value=value, other="kept"))
    assert len(line.encode()) < PIPE_BUF
    assert "id-1" in line
    assert "kept" in line
    assert " ... " in line


def test_of_too_many_fields_what_happened_is_left() -> None:
    many: dict[str, Any] = {f"field_{number}": number for number in range(1000)}
    line = Json().format(record("odd", **many))
    assert json.loads(line).keys() == {"time", "level", "event"}


def test_a_deep_traceback_keeps_its_beginning_and_its_end() -> None:
    def deep(left: int) -> None:
        if not left:
            raise ValueError("planted-secret")
        deep(left - 1)

    with pytest.raises(ValueError, match="planted") as caught:
        deep(200)
    line = Json().format(record("unexpected", caught.value, request_id="id-1"))
    fields = json.loads(line)
    assert len(line) < PIPE_BUF
    assert "planted-secret" not in line
    assert fields["traceback"].startswith("ValueError")
    assert fields["traceback"].endswith(" deep")
    assert fields["request_id"] == "id-1"


def test_an_error_has_a_place() -> None:
    with pytest.raises(ValueError, match="planted") as caught:
        int("planted-secret")
    assert place_of(caught.value).startswith("ValueError at tests/gateway/test_lines.py:")
    assert place_of(KeyError("planted-secret")) == "KeyError"


@pytest.mark.parametrize("form", [Json(), Text(unpainted)])
def test_a_key_where_a_name_belongs_is_left_out(form: logging.Formatter) -> None:
    line = form.format(record(**{**REQUEST, "deployment": f"hub/{KEY_BEGINS}planted"}))
    assert "planted" not in line
    assert "hub/hf_gw_[left out]" in line.replace('"', "")
