"""Duration of any file, from a demuxer in a child process that can be killed.

FFmpeg's demuxers are C code fed by strangers: one that loops or eats memory costs its child, not the service.
The child stays between files, since starting Python and FFmpeg takes longer than a hundred probes.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from providers.audio.content import FileContent
from providers.audio.decode import Probed, UnreadableAudio

if TYPE_CHECKING:
    from providers.audio.content import Content

_LIMIT_S = 2.0  # a probe takes 0.5 to 5 ms
_START_S = 20.0  # a child's first answer also waits for its imports, on a machine that may be busy
_REPLY_BYTES = 4096


class Demuxer:
    """A few probing children behind a blocking call: use it from threads."""

    def __init__(self, children: int = 2) -> None:
        self._idle: queue.SimpleQueue[_Child | None] = queue.SimpleQueue()
        self._children = children
        for _ in range(children):
            self._idle.put(None)  # started when first needed: most files never come here

    def probe(self, content: Content) -> Probed:
        """Demux without decoding. Raises UnreadableAudio, also where it took too long or too much."""
        child = self._idle.get()
        try:
            child = child or _Child()
            return child.probe(content)
        except (OSError, ValueError, EOFError) as error:
            if isinstance(error, UnreadableAudio):
                raise
            if child:
                child.kill()
            child = None
            raise UnreadableAudio("the file could not be examined within its limits of time and memory") from error
        finally:
            self._idle.put(child)

    def close(self) -> None:
        """End the children that are idle; a busy one ends with its file."""
        for _ in range(self._children):
            try:
                child = self._idle.get(timeout=_LIMIT_S)
            except queue.Empty:
                return
            if child:
                child.kill()


class _Child:
    """One process that is handed open files and answers with JSON."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "providers.audio.demux_child"],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
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
        self._patience_s = _LIMIT_S
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
    with open(descriptor, "wb", closefd=False) as file:  # noqa: PTH123 - a descriptor has no path
        file.writelines(content.slices())
    return descriptor, True
