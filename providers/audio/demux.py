"""Duration of any file, and what it sounds like, from a demuxer in a child process that can be killed.

FFmpeg's demuxers are C code fed by strangers: one that loops or eats memory costs its child, not the service.
The child stays between files, since starting Python and FFmpeg takes longer than a hundred probes.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from providers.audio.content import FileContent
from providers.audio.unreadable import Probed, UnreadableAudio

if TYPE_CHECKING:
    from collections.abc import Callable

    from providers.audio.content import Content
    from providers.types import Audio

_LIMIT_S = 2.0  # a probe takes 0.5 to 5 ms
_START_S = 20.0  # a child's first answer also waits for its imports, on a machine that may be busy
_REPLY_BYTES = 4096
_DECODE_TIME_PER_S = 0.02  # FLAC is decoded at 500 to 2,000 times real time, on a machine that may be busy
_LOOK_UP_S = 0.1  # whether anybody still waits
# What Python and its libraries need to start. The rest stays here: keys of every provider may be among it.
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME")
_ROOT = str(Path(__file__).parents[2])  # where `providers` is importable from, whatever the working directory


class Demuxer:
    """A few probing children behind a blocking call: use it from threads."""

    def __init__(self, children: int = 2, *, limit_s: float = _LIMIT_S) -> None:
        self._idle: queue.SimpleQueue[_Child | None] = queue.SimpleQueue()
        self._children = children
        self._limit_s = limit_s
        self._closed = False
        for _ in range(children):
            self._idle.put(None)  # started when first needed: most files never come here

    def probe(self, content: Content) -> Probed:
        """Demux without decoding. Raises UnreadableAudio, also where it took too long or too much."""
        return Probed(**self._asked(lambda child: child.ask({}, content, self._limit_s)))

    def sound(self, audio: Audio, *, max_duration_s: float, is_abandoned: Callable[[], bool] = lambda: False) -> str:
        """Return what `sound_digest` does. Raises UnreadableAudio, also where it took too long, or nobody waits."""
        question = {"container": audio.container, "max_duration_s": max_duration_s}
        limit_s = self._limit_s + (audio.duration_s or max_duration_s) * _DECODE_TIME_PER_S
        answer = self._asked(lambda child: child.ask(question, audio.content, limit_s, is_abandoned))
        return str(answer["sound"])

    def _asked(self, ask: Callable[[_Child], dict[str, Any]]) -> dict[str, Any]:
        """Ask an idle child. Raises UnreadableAudio."""
        child = self._idle.get()
        try:
            if self._closed:
                raise RuntimeError("the demuxer is closed")
            child = child or _Child()
            return ask(child)
        except UnreadableAudio:
            raise
        except (OSError, ValueError, EOFError) as error:
            if child:
                child.kill()
            child = None
            raise UnreadableAudio("the file could not be examined within its limits of time and memory") from error
        finally:
            self._idle.put(child)
            if self._closed:
                self.close()

    def close(self) -> None:
        """End the children that are idle; a busy one ends with its file."""
        self._closed = True
        for _ in range(self._children):
            with contextlib.suppress(queue.Empty):
                child = self._idle.get_nowait()
                if child:
                    child.kill()
                self._idle.put(None)  # for a thread that waits, to find that this is closed


class _Child:
    """One process that is handed open files and answers with JSON."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "providers.audio.demux_child"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {"PYTHONPATH": _ROOT},
            )
        self._has_answered = False

    def ask(
        self,
        question: dict[str, Any],
        content: Content,
        limit_s: float,
        is_abandoned: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """Return the answer. Raises UnreadableAudio where that is one; OSError or EOFError where there is none."""
        until = time.monotonic() + (limit_s if self._has_answered else max(limit_s, _START_S))
        file, owned = _as_file(content)
        try:
            self._socket.settimeout(_LOOK_UP_S)
            socket.send_fds(self._socket, [json.dumps(question).encode()], [file])
            reply = self._reply(until, is_abandoned)
        finally:
            if owned:
                os.close(file)
        if not reply:
            raise EOFError("the child has died")
        self._has_answered = True
        answer: dict[str, Any] = json.loads(reply)
        if "unreadable" in answer:
            raise UnreadableAudio(answer["unreadable"])
        return answer

    def _reply(self, until: float, is_abandoned: Callable[[], bool]) -> bytes:
        while time.monotonic() < until and not is_abandoned():
            with contextlib.suppress(TimeoutError):
                return self._socket.recv(_REPLY_BYTES)
        raise TimeoutError("no answer in time, or for nobody")

    def kill(self) -> None:
        self._socket.close()
        self._process.kill()
        self._process.wait()


def _as_file(content: Content) -> tuple[int, bool]:
    """Return a descriptor of the content, and whether it is ours to close."""
    if isinstance(content, FileContent):
        return content.fileno(), False
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("asr-probe")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    with open(descriptor, "wb", closefd=False) as file:
        file.writelines(content.slices())
    return descriptor, True
