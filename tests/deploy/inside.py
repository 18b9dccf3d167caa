"""What a container's engine does, inside the sandbox: start, check health, ask, stop. Standard library alone.

`python inside.py PLAN`: a JSON object with command, health, key and audio. What came of it goes to standard output.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

URL = "http://127.0.0.1:8080"


def main(plan: dict[str, Any]) -> dict[str, Any]:
    """Return what was seen."""
    told: dict[str, Any] = {"health_before": subprocess.run(plan["health"], check=False).returncode}
    process = subprocess.Popen(plan["command"], stderr=subprocess.PIPE, text=True)
    try:
        told["health"] = _healthy(plan["health"], process)
        told["ready"] = _ask("/health/ready")
        told["without_key"] = _ask("/metrics")[0]
        told["metrics"] = _ask("/metrics", key=plan["key"])
        told["problem"] = _ask(plan["path"], key=plan["key"], body=Path(plan["audio"]).read_bytes())
        told["writes"] = [_writes(each) for each in ("/", "/opt/venv", "/etc/asr-gateway", "/tmp", ".")]  # noqa: S108
        process.terminate()
        told["exit"] = process.wait(30)
    finally:
        process.kill()
        told["written"] = process.stderr.read() if process.stderr else ""
    told["kept"] = sorted(str(path) for path in Path().rglob("*"))
    return told


def _healthy(command: list[str], process: subprocess.Popen[str]) -> int:
    """Return the last exit code, once it is 0 or the gateway has ended."""
    for _ in range(300):
        code = subprocess.run(command, check=False, capture_output=True).returncode
        if code == 0 or process.poll() is not None:
            return code
        time.sleep(0.2)  # the health check says only whether it serves yet, not when it will
    return 1


def _ask(path: str, *, key: str = "", body: bytes | None = None) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(URL + path, data=body, headers=headers)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310 - loopback
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _writes(folder: str) -> str:
    try:
        (Path(folder) / "probe").touch()
    except OSError as error:
        return type(error).__name__
    (Path(folder) / "probe").unlink()
    return "written"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))))
