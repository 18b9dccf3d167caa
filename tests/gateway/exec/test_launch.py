"""What `exec` starts, and what it refuses to start."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from gateway.exec.launch import SITE, URL_VARIABLE, Launch, Problem, plan
from tests.gateway.exec.conftest import EXEC, World

URL = "http://127.0.0.1:8080"
APP = ("python", "app.py")
NOTHING: Mapping[str, str] = MappingProxyType({})


def problem(url: str = URL, command: tuple[str, ...] = APP, environ: Mapping[str, str] = NOTHING) -> str:
    """Return what is wrong; the empty string when nothing is."""
    match plan(url, command, environ):
        case Problem(message=message):
            return message
        case Launch():
            return ""


def launch(url: str = URL, environ: Mapping[str, str] = NOTHING) -> Launch:
    planned = plan(url, APP, environ)
    assert isinstance(planned, Launch)
    return planned


def test_the_folder_comes_first_and_the_path_that_was_set_after_it() -> None:
    planned = launch(environ={"PYTHONPATH": f"/a{os.pathsep}/b", "LANG": "C"})

    assert planned.command == APP
    assert planned.environ == {
        "PYTHONPATH": os.pathsep.join((str(SITE), "/a", "/b")),
        URL_VARIABLE: URL,
        "LANG": "C",
    }


@pytest.mark.parametrize("environ", [{}, {"PYTHONPATH": ""}])
def test_no_empty_entry_is_added(environ: dict[str, str]) -> None:
    """An empty entry of PYTHONPATH is the working folder."""
    assert launch(environ=environ).environ["PYTHONPATH"] == str(SITE)


def test_the_hub_keeps_its_address() -> None:
    assert "HF_ENDPOINT" not in launch().environ


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://gw", "http://gw"),
        ("http://gw/", "http://gw"),
        ("https://gw.example:8443/asr//", "https://gw.example:8443/asr"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_slashes_at_the_end_are_taken_off(url: str, address: str) -> None:
    assert launch(url).environ[URL_VARIABLE] == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gw",
        "gw:8080",
        "ftp://gw",
        "http://",
        "http:///x",
        "http://gw:port",
        "http://gw:0",
        "http://g w",
        "http://{}",
        "http://[::1",
        "http://gw\n",
    ],
)
def test_an_address_that_is_none_is_named(url: str) -> None:
    assert problem(url) == f"--url wants an address such as http://127.0.0.1:8080, not {url!r}"


@pytest.mark.parametrize("url", ["http://user:secret@gw", "http://secret@gw"])
def test_a_password_is_refused_and_not_repeated(url: str) -> None:
    assert "no user or password" in problem(url)
    assert "secret" not in problem(url)


@pytest.mark.parametrize("url", ["http://gw?a=b", "http://gw/#top"])
def test_a_query_is_refused(url: str) -> None:
    assert "before any ? or #" in problem(url)


@pytest.mark.parametrize(
    "environ",
    [{"HF_HUB_OFFLINE": "1"}, {"TRANSFORMERS_OFFLINE": "yes"}, {"HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "TRUE"}],
)
def test_an_offline_client_calls_nobody(environ: dict[str, str]) -> None:
    assert "refuse every call" in problem(environ=environ)


@pytest.mark.parametrize(
    "environ", [{"HF_HUB_OFFLINE": "0"}, {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"}, {"HF_HUB_OFFLINE": "2"}]
)
def test_the_first_switch_decides_as_it_does_for_the_client(environ: dict[str, str]) -> None:
    assert not problem(environ=environ)


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        ("python -I app.py", "I"),
        ("python -E app.py", "E"),
        ("python -S app.py", "S"),
        ("python3 -IS app.py", "I"),
        ("/usr/bin/python3.13t -Es -m app", "E"),
        ("python -u -Wignore -X dev -W error -sE app.py", "E"),
        ("python --check-hash-based-pycs never -I app.py", "I"),
        ("env A=1 nice -n 5 python -I app.py", "I"),
        ("python -uI -c pass", "I"),
    ],
)
def test_a_python_that_ignores_its_environment_is_refused(command: str, flag: str) -> None:
    assert problem(command=tuple(command.split())) == (
        f"python -{flag} ignores PYTHONPATH or sitecustomize, which point the program here; run it without -{flag}"
    )


@pytest.mark.parametrize(
    "command",
    [
        "python app.py -I",
        "python -m app -E",
        "python -c print(1) -S",
        "python -cI",
        "python -mE",
        "python -W I app.py",
        "python -WE app.py",
        "python -X I app.py",
        "python - -I",
        "python -su app.py",
        "python",
        "ffmpeg -I -E -S",
        "python-config -I",
    ],
)
def test_the_programs_own_options_are_its_own(command: str) -> None:
    assert not problem(command=tuple(command.split()))


@pytest.mark.parametrize(("line", "refused"), [("#!/usr/bin/python3 -Es", True), ("#!/usr/bin/env python3", False)])
def test_the_first_line_of_a_script_decides_for_it(tmp_path: Path, line: str, refused: bool) -> None:  # noqa: FBT001 - a table
    script = tmp_path / "tool"
    script.write_text(f"{line}\nprint()\n")
    script.chmod(0o755)

    by_path = problem(command=(str(script), "-I"))
    by_name = problem(command=("tool", "-I"), environ={"PATH": str(tmp_path)})

    assert (bool(by_path), bool(by_name)) == (refused, refused)


def test_nothing_to_run_says_how_to_write_it() -> None:
    assert "-- python app.py" in problem(command=())


async def test_a_problem_ends_with_code_2_and_starts_nothing(world: World) -> None:
    done = await world.run(sys.executable, "-I", "-c", "print('ran')")

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("asr-gateway exec: python -I ignores PYTHONPATH")


async def test_the_exit_code_is_the_programs(world: World) -> None:
    done = await world.run(sys.executable, "-c", "import sys; print(sys.argv[1:]); sys.exit(7)", "a b", "--url")

    assert (done.code, done.out.strip()) == (7, "['a b', '--url']")


async def test_a_signal_reaches_the_program_itself(world: World) -> None:
    """It has the process that was started: nothing stands in between to forward or to forget."""
    done = await world.run(sys.executable, "-c", "import os; os.kill(os.getpid(), 15)")

    assert done.code == -signal.SIGTERM


@pytest.mark.parametrize(("program", "code"), [("no-such-program", 127), ("./sample1.flac", 126)])
async def test_a_program_that_cannot_start_ends_as_in_a_shell(world: World, program: str, code: int) -> None:
    done = await world.run(program)

    assert done.code == code
    assert done.err.startswith(f"asr-gateway exec: {program}: ")


async def test_a_slash_after_the_address_does_no_harm(world: World) -> None:
    source = (
        "from huggingface_hub import InferenceClient as C; "
        "print(C(provider='fal-ai', api_key='k').automatic_speech_recognition('sample1.flac', model='openai/w').text)"
    )
    done = await world.run_plain(sys.executable, "-c", EXEC, f"{world.gateway_url}/", sys.executable, "-c", source)

    assert done.code == 0, done.err
    assert world.gateway[-1].path == "/fal-ai/openai/w"
