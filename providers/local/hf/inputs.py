"""Samples as the models of transformers take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from providers.audio.samples import MODEL_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Sequence

    from providers.audio.samples import Samples
    from providers.local.hf.checkpoint import Checkpoint

_LEAST: Final = MODEL_RATE_HZ // 10  # samples; some models cannot be given less than their first layer looks at


def features_of(checkpoint: Checkpoint, rows: Sequence[Samples], **options: Any) -> dict[str, Any]:  # noqa: ANN401 - the extractor's own
    """Return the model's input for rows of samples, padded to the longest, where and in the type that the model is."""
    heard = [np.pad(row, (0, max(0, _LEAST - len(row)))) for row in rows]
    found = checkpoint.features(heard, sampling_rate=MODEL_RATE_HZ, padding=True, return_tensors="pt", **options)
    model = checkpoint.model
    return {
        name: each.to(model.device, model.dtype if each.is_floating_point() else None)
        for name, each in found.items()
        if isinstance(each, torch.Tensor)  # some say besides how they have cut what was too long
    }
