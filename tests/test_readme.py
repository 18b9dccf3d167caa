"""What the README promises a stranger, done as the stranger would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
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
    lines = [line for line in _curl_lines(README.read_text()) if "curl" in line]
    assert len(lines) == 2
    with running_in_a_thread(demo_settings()) as url:
        for line in lines:
            command = line.replace("http://127.0.0.1:8080", url).replace(" audio.flac", " tests/audio/jfk.flac")
            done = subprocess.run(
                ["bash", "-c", command], cwd=README.parent, capture_output=True, text=True, timeout=60, check=True
            )
            assert "ask not what your country can do for you" in _text(json.loads(done.stdout))


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
