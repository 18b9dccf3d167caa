"""Duration of any file, from a demuxer in a child process that can be killed.

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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from providers.audio.content import FileContent
from providers.audio.decode import Probed, UnreadableAudio

if TYPE_CHECKING:
    from providers.audio.content import Content

_LIMIT_S = 2.0  # a probe takes 0.5 to 5 ms
_START_S = 20.0  # a child's first answer also waits for its imports, on a machine that may be busy
_REPLY_BYTES = 4096
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
        child = self._idle.get()
        try:
            if self._closed:
                raise RuntimeError("the demuxer is closed")
            child = child or _Child(self._limit_s)
            return child.probe(content)
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

    def __init__(self, limit_s: float) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "providers.audio.demux_child"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {"PYTHONPATH": _ROOT},
            )
        self._limit_s = limit_s
        self._patience_s = _START_S

    def probe(self, content: Content) -> Probed:
        file, owned = _as_file(content)
        try:
            self._socket.settimeout(self._patience_s)
            socket.send_fds(self._socket, [b"?"], [file])
            reply = self._socket.recv(_REPLY_BYTES)
        finally:
            if owned:
                os.close(file)
        if not reply:
            raise EOFError("the child has died")
        self._patience_s = self._limit_s
        return _read(json.loads(reply))

    def kill(self) -> None:
        self._socket.close()
        self._process.kill()
        self._process.wait()


def _read(answer: dict[str, Any]) -> Probed:
    if "unreadable" in answer:
        raise UnreadableAudio(answer["unreadable"])
    return Probed(**answer)


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
