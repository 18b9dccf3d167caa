"""List the Debian tools that the tests need and this machine lacks; install them when root, else say what to type.

Run by `make test` before the tests. Exit code 2 where something is missing and cannot be installed from here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

# command -> Debian package
TOOLS = {
    "curl": "curl",  # the README's own line is tested as it is printed
    "node": "nodejs",  # @huggingface/inference drives the Hugging Face front
    "npm": "npm",
    "nginx": "nginx-light",  # rolling restarts behind it, and uploads beside it
    "haproxy": "haproxy",
    "redis-server": "redis-server",  # what replicas share
    "prometheus": "prometheus",  # dashboards and alerts are asked of a real one
    "faketime": "faketime",  # clocks that jump
    "bwrap": "bubblewrap",  # the image's steps at its own paths, under a root that is read-only
    "systemd-analyze": "systemd",  # whether the unit is one, and how much it may do
    "chromium": "chromium",  # the page for people, as a browser shows it
    "chromedriver": "chromium-driver",
}


def main() -> int:
    """Return the exit code."""
    missing = sorted({package for command, package in TOOLS.items() if shutil.which(command) is None})
    if not missing:
        return 0
    sys.stderr.write(f"The tests need Debian packages that are not here: {' '.join(missing)}\n")
    if os.geteuid() != 0:
        sys.stderr.write(f"Type: sudo apt-get install --yes {' '.join(missing)}\n")
        return 2
    subprocess.run(["apt-get", "update", "--quiet"], check=True)
    subprocess.run(["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
