"""The child of `demux`: receives open files on its standard input, answers what their containers say."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import socket

from providers.audio.content import FileContent
from providers.audio.decode import UnreadableAudio, probe

_MEMORY_BYTES = 1 << 30


def main() -> None:
    """Serve until the parent hangs up."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with socket.socket(fileno=0) as parent:
        while True:
            message, descriptors, _, _ = socket.recv_fds(parent, 1, 1)
            if not message:
                return
            parent.sendall(json.dumps(_answer(descriptors[0])).encode())


def _answer(descriptor: int) -> dict[str, object]:
    with open(descriptor, "rb") as file:
        content = FileContent(file, os.fstat(descriptor).st_size)
        try:
            return dataclasses.asdict(probe(content))
        except UnreadableAudio as error:
            return {"unreadable": str(error)}


if __name__ == "__main__":
    main()
