"""A CTranslate2 folder becomes a transformers model, or a sentence that says why not."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from providers.local.hf.checkpoint import LoadOptions
from providers.local.hf.ctranslate2_file import read_variables
from providers.local.hf.from_ctranslate2 import _weight, checkpoint_of
from providers.local.models import ModelMissing, locate
from tests.golden import tiny

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

EMBEDDED = Path(locate("tiny.en"))
ON_CPU = LoadOptions(device="cpu")


def written(path: Path, variables: dict[str, NDArray[np.generic]], spec: str = "WhisperSpec", version: int = 6) -> Path:
    """Write a file as CTranslate2 does."""
    kinds = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4, "uint16": 5}

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    body = struct.pack("<I", version) + text(spec) + struct.pack("<II", 3, len(variables))
    for name, values in variables.items():
        body += text(name) + struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)
        body += struct.pack("<BI", kinds[values.dtype.name], values.nbytes) + values.tobytes()
    path.write_bytes(body + struct.pack("<I", 0))
    return path


def test_every_weight_finds_its_place() -> None:
    """The layers that were joined are apart again, and the output is tied to the embeddings."""
    model = tiny()._model

    assert sum(each.numel() for each in model.parameters()) == 37_760_256
    assert model.proj_out.weight is model.model.decoder.embed_tokens.weight
    assert model.model.encoder.layers[0].self_attn.k_proj.bias is None
    assert not any(each.requires_grad for each in model.parameters())


def test_the_tokenizer_has_the_times_that_the_folder_leaves_out() -> None:
    tokenizer = tiny()._checkpoint.tokenizer

    assert tokenizer.convert_tokens_to_ids(["<|0.00|>", "<|30.00|>"]) == [50_363, 51_863]
    assert tokenizer.decode([50_257, 843, 523, 50_363], skip_special_tokens=True) == " And so"


def test_whole_numbers_are_divided_by_their_rows_scale() -> None:
    values: Mapping[str, NDArray[Any]] = {
        "w": np.array([[2, 4], [9, 3]], np.int8),
        "w_scale": np.array([2.0, 3.0], np.float32),
    }
    assert _weight(values, "w").tolist() == [[1.0, 2.0], [3.0, 1.0]]


def test_variables_are_read_as_they_were_written(tmp_path: Path) -> None:
    values = {"a/b": np.arange(6, dtype=np.float16).reshape(2, 3), "n": np.array(4, np.int16)}
    spec, read = read_variables(written(tmp_path / "model.bin", {**values, "brain": np.array([0x3FC0], np.uint16)}))

    assert spec == "WhisperSpec"
    assert {name: read[name].tolist() for name in values} == {name: each.tolist() for name, each in values.items()}
    assert read["brain"].tolist() == [1.5]  # bfloat16


@pytest.mark.parametrize(
    ("spec", "version", "reason"),
    [
        ("TransformerSpec", 6, "only Whisper models"),
        ("WhisperSpec", 99, "version 99 of model.bin is not known"),
        ("WhisperSpec", 6, "cannot be read|can be read"),
    ],
)
def test_another_file_is_a_missing_model(tmp_path: Path, spec: str, version: int, reason: str) -> None:
    written(tmp_path / "model.bin", {}, spec, version)
    with pytest.raises(ModelMissing, match=reason):
        checkpoint_of(tmp_path, "m", ON_CPU)


def test_a_file_cut_off_or_absent_is_a_missing_model(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="can be read"):
        checkpoint_of(tmp_path, "m", ON_CPU)
    (tmp_path / "model.bin").write_bytes((EMBEDDED / "model.bin").read_bytes()[:100_000])
    with pytest.raises(ModelMissing, match="can be read"):
        checkpoint_of(tmp_path, "m", ON_CPU)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    for name in ("model.bin", "config.json"):
        shutil.copy(EMBEDDED / name, tmp_path / name)
    told = json.loads((EMBEDDED / "tokenizer.json").read_text())
    told["added_tokens"][-1]["content"] = "<|something|>"
    (tmp_path / "tokenizer.json").write_text(json.dumps(told))
    with pytest.raises(ModelMissing, match="tokenizer is not the model's"):
        checkpoint_of(tmp_path, "m", ON_CPU)


def test_nothing_is_left_in_the_folder() -> None:
    assert tiny().size_bytes
    assert {each.name for each in EMBEDDED.iterdir()} == {
        "config.json",
        "model.bin",
        "tokenizer.json",
        "vocabulary.txt",
    }
