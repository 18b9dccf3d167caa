"""A CTranslate2 Whisper folder as a transformers model, in memory: no hub, and nothing left on the disk.

Such a folder holds the complete weights, with the query, key and value projections joined by rows; cut apart they are
transformers' own. Source: OpenNMT/CTranslate2 4.8 `python/ctranslate2/converters/transformers.py` (WhisperLoader) for
the names; openai/whisper v20240930 `tokenizer.py` for the order of the tokens.
"""

from __future__ import annotations

import json
import struct
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch
from tokenizers import AddedToken
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

from providers.local.hf.checkpoint import Checkpoint, LoadOptions, placed
from providers.local.hf.ctranslate2_file import WEIGHTS, read_variables
from providers.local.models import ModelMissing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from providers.local.hf.ctranslate2_file import Variables

_LANGUAGES: Final = {51_864: 99, 51_865: 99, 51_866: 100}  # by size of the vocabulary: slots, used or not
_ENGLISH_ONLY: Final = 51_864
_MOST_TOKENS: Final = 448
_FIRST_TIMESTAMP_AT_MOST: Final = 50  # a second: as OpenAI's decoder rules


def checkpoint_of(directory: Path, name: str, options: LoadOptions) -> Checkpoint:
    """Return the folder's model as transformers runs it. Raises ModelMissing."""
    try:
        spec, variables = read_variables(directory / WEIGHTS)
        if spec != "WhisperSpec":
            raise ModelMissing(f"{directory} holds a {spec}: only Whisper models of CTranslate2 are turned into others")
        return _checkpoint(directory, name, variables, options)
    except (OSError, ValueError, KeyError, struct.error, json.JSONDecodeError) as error:
        raise ModelMissing(f"{directory} holds no Whisper model of CTranslate2 that can be read: {error}") from error


class _Tokens(NamedTuple):
    """Ids of Whisper's control tokens: end of text, start of transcript, the languages, then these in their order."""

    end: int
    start: int
    translate: int
    transcribe: int
    start_of_lm: int
    previous: int
    no_speech: int
    no_timestamps: int

    @classmethod
    def of(cls, vocabulary: int) -> _Tokens:
        end = 50_256 if vocabulary == _ENGLISH_ONLY else 50_257
        translate = end + 2 + _LANGUAGES[vocabulary]
        return cls(end, end + 1, *range(translate, translate + 6))


def _checkpoint(directory: Path, name: str, variables: Variables, options: LoadOptions) -> Checkpoint:
    state = dict(_state(variables))
    config = _config(variables, state)
    model = _model(config, state)
    tokenizer = _tokenizer(directory, config.vocab_size)
    model.generation_config = _generation(directory, config.vocab_size, tokenizer)
    features = WhisperFeatureExtractor(feature_size=config.num_mel_bins)
    return Checkpoint(name=name, model=placed(model, options), tokenizer=tokenizer, features=features)


def _model(config: Any, state: dict[str, torch.Tensor]) -> Any:  # noqa: ANN401 - the library has no types
    with torch.device("meta"):  # nothing is filled at random only to be overwritten
        model = WhisperForConditionalGeneration(config)
    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    if missing != ["proj_out.weight"] or unexpected:
        raise ValueError(f"weights are missing ({missing}) or left over ({unexpected})")
    model.tie_weights()
    return model


def _state(variables: Variables) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield transformers' weights, by their names there. The output projection is tied to the embeddings."""
    for side in ("encoder", "decoder"):
        to = f"model.{side}"
        yield f"{to}.embed_positions.weight", _weight(variables, f"{side}/position_encodings/encodings")
        yield from _norm(variables, f"{side}/layer_norm", f"{to}.layer_norm")
        for number in range(_layers(variables, side)):
            yield from _layer(variables, f"{side}/layer_{number}", f"{to}.layers.{number}")
    for conv in ("conv1", "conv2"):
        for part in ("weight", "bias"):
            yield f"model.encoder.{conv}.{part}", _weight(variables, f"encoder/{conv}/{part}")
    yield "model.decoder.embed_tokens.weight", _weight(variables, "decoder/embeddings/weight")


def _layers(variables: Variables, side: str) -> int:
    return next(n for n in count() if f"{side}/layer_{n}/self_attention/linear_0/weight" not in variables)


def _layer(variables: Variables, of: str, to: str) -> Iterator[tuple[str, torch.Tensor]]:
    attention = f"{to}.self_attn"
    yield from _norm(variables, f"{of}/self_attention/layer_norm", f"{to}.self_attn_layer_norm")
    projections = (f"{attention}.q_proj", f"{attention}.k_proj", f"{attention}.v_proj")
    yield from _linear(variables, f"{of}/self_attention/linear_0", *projections)
    yield from _linear(variables, f"{of}/self_attention/linear_1", f"{attention}.out_proj")
    if f"{of}/attention/linear_0/weight" in variables:  # of a decoder
        cross = f"{to}.encoder_attn"
        yield from _norm(variables, f"{of}/attention/layer_norm", f"{to}.encoder_attn_layer_norm")
        yield from _linear(variables, f"{of}/attention/linear_0", f"{cross}.q_proj")
        yield from _linear(variables, f"{of}/attention/linear_1", f"{cross}.k_proj", f"{cross}.v_proj")
        yield from _linear(variables, f"{of}/attention/linear_2", f"{cross}.out_proj")
    yield from _norm(variables, f"{of}/ffn/layer_norm", f"{to}.final_layer_norm")
    yield from _linear(variables, f"{of}/ffn/linear_0", f"{to}.fc1")
    yield from _linear(variables, f"{of}/ffn/linear_1", f"{to}.fc2")


def _norm(variables: Variables, of: str, to: str) -> Iterator[tuple[str, torch.Tensor]]:
    yield f"{to}.weight", _weight(variables, f"{of}/gamma")
    yield f"{to}.bias", _weight(variables, f"{of}/beta")


def _linear(variables: Variables, of: str, *to: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield a joined layer in equal parts. Whisper's keys have no bias: there the file holds zeros."""
    weights = _weight(variables, f"{of}/weight").chunk(len(to))
    biases = _weight(variables, f"{of}/bias").chunk(len(to))
    for name, weight, bias in zip(to, weights, biases, strict=True):
        yield f"{name}.weight", weight.clone()
        if not name.endswith("k_proj"):
            yield f"{name}.bias", bias.clone()


def _weight(variables: Variables, name: str) -> torch.Tensor:
    """Return a variable as float32; of whole numbers each row has a scale that it is divided by."""
    values = variables[name].astype(np.float32)
    scale = variables.get(f"{name}_scale")
    if scale is not None:
        values /= scale.astype(np.float32).reshape(scale.shape + (1,) * (values.ndim - scale.ndim))
    return torch.from_numpy(values)


def _config(variables: Variables, state: Mapping[str, torch.Tensor]) -> Any:  # noqa: ANN401 - the library has no types
    vocabulary, width = state["model.decoder.embed_tokens.weight"].shape
    if vocabulary not in _LANGUAGES:
        raise ValueError(f"a vocabulary of {vocabulary} tokens is none of Whisper's")
    tokens = _Tokens.of(vocabulary)
    return WhisperConfig(
        vocab_size=vocabulary,
        num_mel_bins=state["model.encoder.conv1.weight"].shape[1],
        d_model=width,
        encoder_layers=_layers(variables, "encoder"),
        decoder_layers=_layers(variables, "decoder"),
        encoder_attention_heads=int(variables["encoder/num_heads"]),
        decoder_attention_heads=int(variables["decoder/num_heads"]),
        encoder_ffn_dim=state["model.encoder.layers.0.fc1.weight"].shape[0],
        decoder_ffn_dim=state["model.decoder.layers.0.fc1.weight"].shape[0],
        max_source_positions=state["model.encoder.embed_positions.weight"].shape[0],
        max_target_positions=state["model.decoder.embed_positions.weight"].shape[0],
        bos_token_id=tokens.end,
        eos_token_id=tokens.end,
        pad_token_id=tokens.end,
        decoder_start_token_id=tokens.start,
    )


def _tokenizer(directory: Path, vocabulary: int) -> Any:  # noqa: ANN401 - the library has no types
    """Return the tokenizer, with the timestamps that the folder's own may lack. Raises ValueError where ids differ."""
    told = json.loads((directory / "tokenizer.json").read_text())
    merges = [tuple(each.split(" ")) if isinstance(each, str) else tuple(each) for each in told["model"]["merges"]]
    tokenizer = WhisperTokenizer(vocab=told["model"]["vocab"], merges=merges)
    added = {each["id"]: each["content"] for each in told["added_tokens"]}
    last = _Tokens.of(vocabulary).no_timestamps
    control = [added[token] for token in range(len(tokenizer), last + 1)]
    tokenizer.add_tokens([AddedToken(each, special=True, normalized=False) for each in control], special_tokens=True)
    times = [f"<|{number * 0.02:.2f}|>" for number in range(vocabulary - last - 1)]
    tokenizer.add_tokens([AddedToken(each, special=False, normalized=False) for each in times])
    if len(tokenizer) != vocabulary or tokenizer.convert_tokens_to_ids("<|notimestamps|>") != last:
        raise ValueError("the tokenizer is not the model's")
    return tokenizer


def _generation(directory: Path, vocabulary: int, tokenizer: Any) -> Any:  # noqa: ANN401 - the library has no types
    told = json.loads((directory / "config.json").read_text())
    tokens = _Tokens.of(vocabulary)
    multilingual = vocabulary != _ENGLISH_ONLY
    languages = range(tokens.start + 1, tokens.translate)
    told_only_there = {
        "lang_to_id": {tokenizer.convert_ids_to_tokens(each): each for each in languages},
        "task_to_id": {"translate": tokens.translate, "transcribe": tokens.transcribe},
    }
    return GenerationConfig(
        bos_token_id=tokens.end,
        eos_token_id=tokens.end,
        pad_token_id=tokens.end,
        decoder_start_token_id=tokens.start,
        max_length=_MOST_TOKENS,
        max_initial_timestamp_index=_FIRST_TIMESTAMP_AT_MOST,
        no_timestamps_token_id=tokens.no_timestamps,
        prev_sot_token_id=tokens.previous,
        is_multilingual=multilingual,
        alignment_heads=told["alignment_heads"],
        suppress_tokens=told["suppress_ids"],
        begin_suppress_tokens=told["suppress_ids_begin"],
        **(told_only_there if multilingual else {}),
    )
