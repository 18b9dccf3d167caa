"""The child of `demux`: is handed open files on its standard input, and says how long they are or how they sound."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import socket
from typing import Any

from providers.audio.content import FileContent
from providers.audio.decode import probe
from providers.audio.sound import sound_digest
from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.types import Container

_MEMORY_BYTES = 1 << 30
_QUESTION_BYTES = 4096


def main() -> None:
    """Serve until the parent hangs up."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with socket.socket(fileno=0) as parent:
        while True:
            message, descriptors, _, _ = socket.recv_fds(parent, _QUESTION_BYTES, 1)
            if not message:
                return
            parent.sendall(json.dumps(_answer(json.loads(message), descriptors[0])).encode())


def _answer(question: dict[str, Any], descriptor: int) -> dict[str, object]:
    with open(descriptor, "rb") as file:
        content = FileContent(file, os.fstat(descriptor).st_size)
        try:
            return {"sound": _sound(content, **question)} if question else dataclasses.asdict(probe(content))
        except (UnreadableAudio, AudioTooLong) as error:
            return {"unreadable": str(error)}


def _sound(content: FileContent, container: str | None, max_duration_s: float) -> str:
    return sound_digest(content, Container(container) if container else None, max_duration_s=max_duration_s)


if __name__ == "__main__":
    main()
