"""A program under a unit's filters of system calls, which are laid as systemd lays them.

`python confined.py FILTERS COMMAND...`: a JSON object with calls (let through), families (of sockets) and
write_execute (whether memory may be both).
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import socket
import sys
from typing import Any

import pyseccomp as seccomp

_SHM_EXEC = 0o100000
_W_X = mmap.PROT_WRITE | mmap.PROT_EXEC


def confine(filters: dict[str, Any]) -> None:
    """Lay the filters upon this process and all that it becomes."""
    if not filters["write_execute"]:
        _deny_write_execute()
    _deny_other_families({getattr(socket, name) for name in filters["families"]})
    only = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    for name in filters["calls"]:
        try:
            only.add_rule(seccomp.ALLOW, name)
        except (OSError, RuntimeError, ValueError):  # another machine's, or newer than libseccomp
            continue
    only.load()


def _deny_write_execute() -> None:
    denied = seccomp.SyscallFilter(seccomp.ALLOW)
    for name, at, mask in (
        ("mmap", 2, _W_X),
        ("mprotect", 2, mmap.PROT_EXEC),
        ("pkey_mprotect", 2, mmap.PROT_EXEC),
        ("shmat", 2, _SHM_EXEC),
    ):
        denied.add_rule(seccomp.ERRNO(errno.EPERM), name, seccomp.Arg(at, seccomp.MASKED_EQ, mask, mask))
    denied.load()


def _deny_other_families(families: set[int]) -> None:
    denied = seccomp.SyscallFilter(seccomp.ALLOW)
    for family in set(map(int, socket.AddressFamily)) - families:
        denied.add_rule(seccomp.ERRNO(errno.EAFNOSUPPORT), "socket", seccomp.Arg(0, seccomp.EQ, family))
    denied.load()


if __name__ == "__main__":
    confine(json.loads(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - a test's own program
