"""Token ids that the decoders of transformers 4.53 gave, and ours for the same: the last release that had them all.

tests/fixtures/local/decoding-golden.json says how they were made.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationMixin
from transformers.modeling_outputs import BaseModelOutput

from providers.audio.samples import MODEL_RATE_HZ, read_samples
from providers.local.hf import generation
from providers.local.hf.checkpoint import LoadOptions
from providers.local.hf.load import load
from providers.types import GenerationParameters
from tests.conftest import sample_audio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from providers.local.hf.whisper import Whisper

CASES = json.loads((Path(__file__).parent / "fixtures/local/decoding-golden.json").read_text())["cases"]
PROMPT = (50_257, 50_362)  # start of transcript, no timestamps
END = 50_256


@functools.cache
def tiny() -> Whisper:
    """Return the embedded model, loaded once in a test process."""
    torch.set_num_threads(1)  # as many processes test at once as there are processors
    return load("tiny.en", LoadOptions(device="cpu"))  # type: ignore[return-value] # an Engine, in fact this one


@functools.cache
def encoded(name: str) -> torch.Tensor:
    """Return what the encoder makes of a recording: (1, 1500, 384)."""
    samples = read_samples(sample_audio(name).content, max_duration_s=30)
    features = tiny()._checkpoint.features(samples, sampling_rate=MODEL_RATE_HZ, return_tensors="pt")
    with torch.inference_mode():
        heard: torch.Tensor = tiny()._model.get_encoder()(features.input_features).last_hidden_state
    return heard


def expected(name: str, parameters: Mapping[str, Any]) -> list[int]:
    """Return the tokens of the reference, without the end."""
    tokens: list[int]
    (tokens,) = [case["tokens"] for case in CASES if case["file"] == name and case["parameters"] == parameters]
    return tokens


def decoded(names: Sequence[str], **parameters: Any) -> list[list[int]]:
    """Return ours, of several recordings in a batch."""
    given = generation.keywords(GenerationParameters(**parameters), generation.Room(len(PROMPT), 448))
    return generated(names, **given)


def generated(names: Sequence[str], **given: Any) -> list[list[int]]:
    """Return ours, for keywords of `generate`."""
    with torch.inference_mode():
        tokens = GenerationMixin.generate(
            tiny()._model,
            encoder_outputs=BaseModelOutput(torch.cat([encoded(name) for name in names])),
            attention_mask=torch.ones(len(names), 1),
            decoder_input_ids=torch.tensor([PROMPT] * len(names)),
            **given,
        )
    rows = [row[len(PROMPT) :] for row in tokens.tolist()]
    return [row[: row.index(END)] if END in row else row for row in rows]
