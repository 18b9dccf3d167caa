"""`asr-gateway exec`: the environment in which an unchanged program reaches the gateway, and the start of the program.

The redirection travels in the environment (PYTHONPATH and ASR_EXEC_URL), so child Pythons, virtual environments,
`python -m`, console scripts and shells in between inherit it. A program that clears its children's environment, or is
frozen into one file, is out of reach.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SITE = Path(__file__).parent / "site"
# Not ASR_GATEWAY_...: those are the gateway's own settings, and one below `exec` would refuse to start.
URL_VARIABLE = "ASR_EXEC_URL"  # read by site/sitecustomize.py
USAGE = 2  # exit code for what the caller must change
NOT_EXECUTABLE, NOT_FOUND = 126, 127  # as a shell has it (POSIX, 2.8.2)

_PYTHON = re.compile(r"(python|pypy)w?[\d.]*t?(-dbg)?(\.exe)?")
_OFFLINE = {"1", "ON", "YES", "TRUE"}  # what huggingface_hub takes for true (constants.py)
_SHEBANG_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A program to run, and the environment to run it in."""

    command: tuple[str, ...]
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why the program would not reach the gateway, in one sentence that says what to do."""

    message: str


def run(url: str, command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Become the program: signals and its exit code are its own. Returns only an exit code of failure."""
    match plan(url, command, environ):
        case Problem(message=message):
            return _fail(message, USAGE)
        case Launch() as launch:
            try:
                os.execvpe(launch.command[0], launch.command, dict(launch.environ))  # noqa: S606 - the caller's command
            except FileNotFoundError:
                return _fail(f"{command[0]}: no such program", NOT_FOUND)
            except OSError as error:
                return _fail(f"{command[0]}: {error.strerror}", NOT_EXECUTABLE)


def plan(url: str, command: Sequence[str], environ: Mapping[str, str]) -> Launch | Problem:
    """Say how the command is to be run, or why it cannot be redirected.

    Reads the first line of a script, since its interpreter's options decide.
    """
    if not command:
        return Problem(message="nothing to run; write: asr-gateway exec --url URL -- python app.py")
    wrong = _wrong_url(url) or _offline(environ) or _deaf_python((*_interpreter(command[0], environ), *command))
    if wrong:
        return Problem(message=wrong)
    places = [str(SITE), environ.get("PYTHONPATH", "")]
    ours = {"PYTHONPATH": os.pathsep.join(filter(None, places)), URL_VARIABLE: url.rstrip("/")}
    return Launch(command=tuple(command), environ={**environ, **ours})


def _wrong_url(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s{}]", url):
        return f"--url wants an address such as http://127.0.0.1:8080, not {url!r}"
    if "@" in parts.netloc:
        return "--url must hold no user or password; the program's own api_key is the gateway's key"
    if "?" in url or "#" in url:
        return "--url ends before any ? or #, since paths are appended to it"
    return None


def _offline(environ: Mapping[str, str]) -> str | None:
    """Find the switch with which huggingface_hub refuses every call; the first that is set decides."""
    name = "HF_HUB_OFFLINE" if environ.get("HF_HUB_OFFLINE") else "TRANSFORMERS_OFFLINE"
    if environ.get(name, "").upper() not in _OFFLINE:
        return None
    return f"{name}={environ[name]} makes huggingface_hub refuse every call, also to the gateway; unset it"


def _interpreter(program: str, environ: Mapping[str, str]) -> list[str]:
    """Return the words of a script's `#!` line; none for anything else."""
    found = shutil.which(program, path=environ.get("PATH"))
    if found is None:
        return []
    with Path(found).open("rb") as file:
        line = file.readline(_SHEBANG_BYTES)
    return line[2:].decode(errors="replace").split() if line.startswith(b"#!") else []


def _deaf_python(words: Sequence[str]) -> str | None:
    """Find an option with which Python ignores PYTHONPATH (-E, -I) or sitecustomize (-S), as in `env python -Es`."""
    for place, word in enumerate(words):
        if _PYTHON.fullmatch(Path(word).name):
            return next((_deaf(flag) for flag in _flags(words[place + 1 :]) if flag in "EIS"), None)
    return None


def _deaf(flag: str) -> str:
    return f"python -{flag} ignores PYTHONPATH or sitecustomize, which point the program here; run it without -{flag}"


def _flags(words: Sequence[str]) -> str:
    """Return Python's one-letter options: those before the script, -c or -m (`python --help`)."""
    flags, rest = "", iter(words)
    for word in rest:
        if word == "--check-hash-based-pycs":
            next(rest, None)
        if word.startswith("--"):
            continue
        if not word.startswith("-") or word == "-":
            break
        letters, valued, value = _split_cluster(word[1:])
        flags += letters
        if valued in {"c", "m"}:
            break
        if valued and not value:
            next(rest, None)
    return flags


def _split_cluster(cluster: str) -> tuple[str, str, str]:
    """Split `uWignore` into its switches, the first option that takes a value, and the value."""
    found = re.search("[cmWX]", cluster)
    if found is None:
        return cluster, "", ""
    return cluster[: found.start()], found[0], cluster[found.end() :]


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"asr-gateway exec: {message}\n")
    return code
