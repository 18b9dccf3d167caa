"""Models by their names: embedded, in a folder, on the Hub; and what is said where there is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import Wav2Vec2Config, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

from providers.local.hf.checkpoint import LoadOptions
from providers.local.hf.load import load
from providers.local.models import ModelMissing, locate
from providers.local.whereabouts import on_hub
from providers.types import GenerationParameters, Timestamps, TranscriptionJob
from tests.conftest import sample_audio
from tests.golden import tiny

ON_CPU = LoadOptions(device="cpu")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a checkpoint of transformers: one layer, at random, with the real vocabulary."""
    folder = tmp_path_factory.mktemp("checkpoint")
    real = tiny()._model
    sizes = {f"{side}_{what}": 1 for side in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    widths = {"d_model": 16, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    ids = {name: getattr(real.config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    start = real.config.decoder_start_token_id
    config = WhisperConfig(vocab_size=51_864, **sizes, **widths, **ids, decoder_start_token_id=start)
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(config)
    model.generation_config.update(num_beams=5, max_length=20, decoder_start_token_id=start)  # must decide nothing
    model.save_pretrained(folder)
    tiny()._checkpoint.tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def test_a_folder_of_transformers_is_loaded_and_hears(saved: Path) -> None:
    """It brings neither alignment heads nor tokens to suppress, and its own beams and lengths count for nothing."""
    engine = load(str(saved), ON_CPU)
    generation = GenerationParameters(max_new_tokens=30, min_new_tokens=30)
    job = TranscriptionJob(
        model="m", audio=sample_audio("sb_spk2_snt1.flac"), generation=generation, timestamps=Timestamps.WORD
    )
    (found,) = engine.hear(list(engine.pieces(job)), lambda: False)

    assert found.model_version == str(saved)
    assert found.words
    assert engine.size_bytes < 5e6
    engine.close()


@pytest.mark.parametrize(
    "options",
    [LoadOptions(device="cpu", dtype="bfloat16", attention="eager", max_rows=3), LoadOptions(attention="sdpa")],
)
def test_a_model_runs_as_it_is_told_to(saved: Path, options: LoadOptions) -> None:
    engine = load(str(saved), options)
    generation = GenerationParameters(max_new_tokens=4)
    job = TranscriptionJob(model="m", audio=sample_audio("sb_spk2_snt1.flac"), generation=generation)

    assert len(engine.hear(list(engine.pieces(job)), lambda: False)) == 1
    assert engine.max_rows == (options.max_rows or engine.max_rows)
    assert engine._model.dtype == (torch.bfloat16 if options.dtype == "bfloat16" else torch.float32)  # type: ignore[attr-defined] # of the class
    assert engine._model.config._attn_implementation == options.attention  # type: ignore[attr-defined] # of the class


def test_a_folder_of_ctranslate2_is_loaded_by_its_path(tmp_path: Path) -> None:
    shutil.copytree(locate("tiny.en"), tmp_path / "copy")
    assert load(str(tmp_path / "copy"), ON_CPU).capabilities == tiny().capabilities


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (LoadOptions(device="tpu:7000"), "device 'tpu:7000' is not to be had"),
        (LoadOptions(device="cpu", dtype="int3"), "dtype 'int3' is none of float32, float16, bfloat16, auto"),
        (LoadOptions(device="cpu", attention="flash_attention_9"), "attention 'flash_attention_9' cannot be had"),
    ],
)
def test_what_the_machine_has_not_is_said(saved: Path, options: LoadOptions, reason: str) -> None:
    with pytest.raises(ModelMissing, match=reason):
        load(str(saved), options)


def test_a_folder_without_a_model_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"neither config\.json nor model\.bin"):
        load(str(tmp_path), ON_CPU)


def test_a_folder_that_breaks_off_is_missing(saved: Path, tmp_path: Path) -> None:
    shutil.copy(saved / "config.json", tmp_path)
    with pytest.raises(ModelMissing, match="cannot be loaded: give the path of a transformers checkpoint"):
        load(str(tmp_path), ON_CPU)


def test_a_model_of_another_kind_ison_hub(tmp_path: Path) -> None:
    Wav2Vec2Config(model_type="wav2vec2").save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelMissing, match=r"is a model of type bert; run here are .*moonshine.*wav2vec2, .*whisper$"):
        load(str(tmp_path), ON_CPU)


def test_what_the_hub_does_not_give_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelMissing, match="that this machine can download or has in its cache"):
        load("nobody/no-such-model@main", ON_CPU)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("openai/whisper-tiny", ("openai/whisper-tiny", None)),
        ("openai/whisper-tiny@v1", ("openai/whisper-tiny", "v1")),
        ("large-v3", ("openai/whisper-large-v3", None)),
    ],
)
def test_a_name_is_an_id_and_perhaps_a_revision(name: str, told: tuple[str, str | None]) -> None:
    assert on_hub(name) == told
