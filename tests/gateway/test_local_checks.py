"""`asr-gateway providers check` of models on this machine: found or not, and never loaded."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import pytest

from tests.gateway.test_cli import Shell
from tests.gateway.test_providers_cli import configured

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def said(
    shell: Shell, *models: str, code: int = 0, environ: Mapping[str, str] = NOTHING, **account: object
) -> list[str]:
    """Return what is said of each, after the account's name and the model's."""
    targets = [f"local/{model}" for model in models]
    file = configured(shell, {"a": targets}, local={"adapter": "local", **account})
    done = shell.run("providers", "check", "--config", file, **environ)
    assert (done.returncode, done.stderr) == (code, "")
    return [" ".join(line.split()[2:]) for line in done.stdout.splitlines()[1:]]


def in_cache(hub: Path, repository: str, *files: str) -> None:
    """Lay files into the Hub's cache as its client does. The weights are none: loading them would fail."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / "0123456789012345678901234567890123456789"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(snapshot.name)
    for name in files:
        (snapshot / name).write_text("no weights")


def test_the_embedded_model_is_found_with_both_engines_that_run_it(shell: Shell) -> None:
    (told,) = said(shell, "tiny.en")
    assert told.startswith("- - - found: faster-whisper, or transformers would hear it, from /")
    assert told.endswith("loading it is not tried")


def test_folders_are_looked_into(shell: Shell, tmp_path: Path) -> None:
    """One of each engine's, of which nothing could be loaded, and one that is not there."""
    for name, file in (("whisper", "model.bin"), ("hf", "config.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("no weights")
    converted, checkpoint, nothing = said(shell, f"{tmp_path}/whisper", f"{tmp_path}/hf", f"{tmp_path}/nothing", code=1)
    assert converted.startswith("- - - found: faster-whisper, or transformers would hear it")
    assert checkpoint.startswith("- - - found: transformers would hear it")
    assert f"missing: {tmp_path}/nothing holds neither config.json nor model.bin" in nothing


def test_what_the_hubs_cache_has_is_told_from_what_would_be_fetched(shell: Shell, tmp_path: Path) -> None:
    """What is to be fetched may be had or not: that is no fault yet, unless nothing may be fetched."""
    in_cache(tmp_path / "hub", "Systran/faster-whisper-small", "config.json", "model.bin")
    in_cache(tmp_path / "hub", "facebook/wav2vec2-base-960h", "config.json", "model.safetensors")
    in_cache(tmp_path / "hub", "facebook/hubert-large", "config.json")  # a download that was cut off
    models = ("small", "facebook/wav2vec2-base-960h", "facebook/hubert-large")
    cache = {"HF_HUB_CACHE": str(tmp_path / "hub")}

    small, wav2vec2, hubert = said(shell, *models, environ=cache)
    assert "found: faster-whisper" in small
    assert "the Hub's cache, Systran/faster-whisper-small; loading it is not tried" in small
    assert "found: transformers would hear it, from the Hub's cache, facebook/wav2vec2-base-960h" in wav2vec2
    assert "not tried: transformers would hear it, from the Hub, facebook/hubert-large" in hubert

    _, _, offline = said(shell, *models, code=1, environ={**cache, "HF_HUB_OFFLINE": "1"})
    assert "missing: facebook/hubert-large is not in the Hub's cache, and HF_HUB_OFFLINE is set" in offline


def test_weights_that_nobody_opted_in_for_are_missing(shell: Shell) -> None:
    model = "facebook/seamless-m4t-v2-large"
    assert "non-commercial use only" in said(shell, model, code=1)[0]
    assert "not tried: transformers" in said(shell, model, non_commercial=True)[0]


def test_a_name_that_can_be_none_on_the_hub_is_missing(shell: Shell) -> None:
    assert "neither a folder nor a name on the Hugging Face Hub" in said(shell, "a/b/c", code=1)[0]
