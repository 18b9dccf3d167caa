"""What the README promises a stranger, done as the stranger would."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tests.provider_table import README, renewed
from tests.serving import demo_settings, running_in_a_thread

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_the_table_of_providers_is_what_the_capabilities_say() -> None:
    text = README.read_text()
    assert renewed(text) == text, "run python -m tests.provider_table"


def test_the_curl_lines_transcribe_the_sample() -> None:
    """Both lines, with the address of a server on a free port and a file that exists."""
    lines = [line for line in _curl_lines(README.read_text()) if ":8080" in line]
    assert len(lines) == 2
    with running_in_a_thread(demo_settings()) as url:
        for line in lines:
            command = line.replace("http://127.0.0.1:8080", url).replace(" audio.flac", " tests/audio/jfk.flac")
            done = subprocess.run(
                ["bash", "-c", command], cwd=README.parent, capture_output=True, text=True, timeout=60, check=True
            )
            assert "ask not what your country can do for you" in _text(json.loads(done.stdout))


def test_five_minutes_to_failover(tmp_path: Path) -> None:
    """Every line, in one shell: before and after the first provider is killed. Ports alone are others: free ones."""
    section = README.read_text().split("## Five minutes to failover\n")[1].split("\n## ")[0]
    start, ask, kill, end = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert "kill $first" in kill
    wait = "".join(
        f"until curl -so /dev/null http://127.0.0.1:{port}; do sleep 0.2; done\n" for port in (9001, 9002, 8081)
    )
    script = "".join((start, f"trap 'kill $first 2> /dev/null; {end.strip()}' EXIT\n", wait, ask, kill, ask)).replace(
        "> two.yaml", f"> {tmp_path}/two.yaml"
    )
    script = script.replace("--config two.yaml", f"--config {tmp_path}/two.yaml")
    for port in (9001, 9002, 8081):
        script = script.replace(str(port), str(_free_port()))
    done = subprocess.run(
        ["bash", "-c", script], cwd=README.parent, capture_output=True, text=True, timeout=100, check=False
    )
    assert "ask not what your country can do for you" in done.stdout, done.stderr
    told = re.findall(r"X-Gateway-(Provider|Attempts): (\w+)", done.stdout)
    assert told == [("Provider", "first"), ("Attempts", "1"), ("Provider", "second"), ("Attempts", "2")], done.stdout


def _free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


def _curl_lines(text: str) -> Iterator[str]:
    """Yield each shell block that posts audio."""
    for block in re.findall(r"```sh\n((?:curl|printf) .*?)```", text, re.DOTALL):
        yield block.strip()


def _text(answer: dict[str, str]) -> str:
    return answer["text"]


def test_the_configuration_is_one(tmp_path: Path) -> None:
    block = re.search(r"```yaml\n(# gateway\.yaml.*?)```", README.read_text(), re.DOTALL)
    assert block
    (tmp_path / "gateway.yaml").write_text(block[1])
    done = subprocess.run(
        [Path(sys.executable).with_name("asr-gateway"), "check", tmp_path / "gateway.yaml"],
        env={"PATH": os.defpath, "FAL_KEY": "any"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
