"""What models are given: rows of one length, as long as a first layer wants them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor

from providers.local.hf.checkpoint import Checkpoint
from providers.local.hf.inputs import features_of


def checkpoint(dtype: torch.dtype) -> Checkpoint:
    model = torch.nn.Linear(1, 1, dtype=dtype)
    # What the function asks of a model, which a module alone does not say.
    model.device, model.dtype = torch.device("cpu"), dtype
    features = Wav2Vec2FeatureExtractor(return_attention_mask=True)
    return Checkpoint(name="m", model=model, tokenizer=None, features=features)


def samples(count: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.linspace(-1, 1, count, dtype=np.float32)


@pytest.mark.parametrize(("counts", "width"), [([1], 1_600), ([1_600], 1_600), ([2_000, 1_700], 2_000)])
def test_rows_are_filled_up_with_silence(counts: list[int], width: int) -> None:
    given = features_of(checkpoint(torch.float32), [samples(count) for count in counts])

    assert given["input_values"].shape == (len(counts), width)
    assert given["attention_mask"].sum(-1).tolist() == [max(1_600, count) for count in counts]


def test_numbers_are_of_the_models_type_and_a_mask_stays_what_it_is() -> None:
    given = features_of(checkpoint(torch.bfloat16), [samples(2_000)])

    assert given["input_values"].dtype is torch.bfloat16
    assert given["attention_mask"].dtype is torch.int32
