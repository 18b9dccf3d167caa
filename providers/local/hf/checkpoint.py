"""A model as transformers loads it, and where and how it is to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import torch

from providers.local.models import ModelMissing

if TYPE_CHECKING:
    from collections.abc import Mapping

AUTO: Final = "auto"
_TYPES: Final[Mapping[str, torch.dtype]] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


class LoadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how a model runs."""

    device: str = AUTO  # as torch names it: cpu, cuda, cuda:1, mps, xpu; auto: an accelerator where there is one
    dtype: str = AUTO  # float32, float16, bfloat16; auto: float32 on a CPU, 16 bits elsewhere
    attention: str = AUTO  # eager, sdpa, flash_attention_2; auto: as transformers chooses for the model
    compile: bool = False  # of Whisper's: a load that takes minutes more, worth it on a GPU
    max_rows: int | None = None  # of a batch; None: as fits the device
    language: str | None = None  # ISO-639-1; where a model cannot tell: the one it hears, or of jobs that name none
    non_commercial: bool = False  # the use is none, so weights that may be used for no other may be loaded


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Checkpoint:
    """A loaded model with what turns samples into its input and its output into text."""

    name: str  # as configured
    model: Any  # on its device, for inference
    tokenizer: Any
    features: Any  # samples of 16 kHz to what the model hears


def device_of(options: LoadOptions) -> torch.device:
    """Return the device to run on. Raises ModelMissing where this machine has none such."""
    try:
        if options.device == AUTO:
            return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
        device = torch.device(options.device)
        torch.empty(0, device=device)
    except Exception as error:  # torch raises a class of its own for each kind of device that is not there
        raise ModelMissing(
            f"the device {options.device!r} is not to be had on this machine: name another, or auto"
        ) from error
    return device


def dtype_of(options: LoadOptions, device: torch.device) -> torch.dtype:
    """Return the type of the weights. Raises ModelMissing for a name that is none."""
    if options.dtype != AUTO:
        try:
            return _TYPES[options.dtype]
        except KeyError:
            raise ModelMissing(f"the dtype {options.dtype!r} is none of {', '.join(_TYPES)}, auto") from None
    if device.type == "cpu":  # most have no arithmetic of 16 bits: bfloat16 is slower there
        return torch.float32
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float16


def placed(model: Any, options: LoadOptions) -> Any:  # noqa: ANN401 - the library has no types
    """Return the model on its device, in its type, for inference only. Raises ModelMissing."""
    device = device_of(options)
    model = model.to(device=device, dtype=dtype_of(options, device)).eval().requires_grad_(requires_grad=False)
    if options.attention != AUTO:
        try:
            model.set_attn_implementation(options.attention)
        except (ValueError, ImportError) as error:
            raise ModelMissing(f"attention {options.attention!r} cannot be had here: {error}") from error
    return model
