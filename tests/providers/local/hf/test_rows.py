"""What a model takes, and how many rows beside it."""

from __future__ import annotations

import torch

from providers.local.hf.rows import ON_A_CPU, most_rows, size_bytes


def test_a_model_takes_what_its_weights_and_buffers_do() -> None:
    model = torch.nn.BatchNorm1d(5)  # two weights and two buffers of five, and a counter
    assert size_bytes(model) == 4 * 5 * 4 + 8


def test_a_cpu_gains_little_from_more_rows() -> None:
    model = torch.nn.Linear(1, 1)
    model.device = torch.device("cpu")  # as a model of transformers has it
    assert most_rows(model, 1) == ON_A_CPU
