"""A root of one's own for programs: this machine's, read-only, with folders of a test's at any path. By bubblewrap."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_KERNELS: Final = frozenset(map(Path, ("/dev", "/proc", "/sys", "/tmp")))  # noqa: S108 - a folder of its own is put there
_UID: Final = "10001"  # in its own user namespace: whoever runs the tests is that outside


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What is to be seen in it. Everything else is this machine's, but for `hidden`."""

    python: Path  # a folder with the interpreter that the image's base has as `python`
    writable: Mapping[str, Path] = field(default_factory=dict)  # path in there -> folder here
    readable: Mapping[str, Path] = field(default_factory=dict)
    hidden: Sequence[Path] = ()  # not there at all

    def run(
        self, command: Sequence[str], environ: Mapping[str, str], *, at: str, timeout_s: float, network: bool
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end, with a /tmp, a /dev, processes and an unprivileged user of its own.

        network: this machine's; else one with nothing but loopback.
        """
        own = ["--unshare-user", "--unshare-pid", "--unshare-ipc", *([] if network else ["--unshare-net"])]
        told = ["--uid", _UID, "--gid", _UID, "--die-with-parent", "--chdir", at, "--clearenv"]
        told += [word for name, value in environ.items() for word in ("--setenv", name, value)]
        return subprocess.run(
            ["bwrap", *own, *self._mounts(), *told, *command],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def _mounts(self) -> Iterator[str]:
        holes = {*_KERNELS, *map(Path, (*self.writable, *self.readable)), *self.hidden, Path("/base")}
        yield from ("--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp")  # noqa: S108 - see above
        yield from _read_only(Path("/"), holes)
        yield from ("--ro-bind", str(self.python), "/base")
        for path, folder in self.readable.items():
            yield from ("--ro-bind", str(folder), path)
        for path, folder in self.writable.items():
            yield from ("--bind", str(folder), path)
        yield from ("--remount-ro", "/")


def _read_only(folder: Path, holes: set[Path]) -> Iterator[str]:
    """Show what is in a folder, except where something else belongs."""
    for each in sorted(folder.iterdir()):
        if each in holes:
            continue
        if any(hole.is_relative_to(each) for hole in holes):
            yield from _read_only(each, holes)
        elif each.is_symlink():
            yield from ("--symlink", str(each.readlink()), str(each))
        else:
            yield from ("--ro-bind-try", str(each), str(each))


def base_python(folder: Path) -> Path:
    """Return a folder with `python`: the interpreter behind the one that runs the tests, without its packages."""
    folder.mkdir()
    real = Path(sys.base_exec_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    (folder / "python").symlink_to(real)
    return folder
