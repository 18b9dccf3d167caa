"""Which engines run a model of a name, what each of them calls it, and what can be told of it before it is loaded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from providers.local.models import EMBEDDED, MULTILINGUAL
from providers.types import GENERATION_NAMES, Capabilities, Task, Timestamps

if TYPE_CHECKING:
    from collections.abc import Mapping

FASTER_WHISPER: Final = "faster-whisper"
TRANSFORMERS: Final = "transformers"

# What faster-whisper 1.2 knows by a name of its own, and where transformers finds the same weights on the Hub.
_HUB_IDS: Final = {
    **{
        size: f"openai/whisper-{size}"
        for size in ("tiny", "tiny.en", "base", "base.en", "small", "small.en", "medium", "medium.en")
    },
    **{size: f"openai/whisper-{size}" for size in ("large-v1", "large-v2", "large-v3", "large-v3-turbo")},
    **{size: f"distil-whisper/{size}" for size in ("distil-small.en", "distil-medium.en")},
    **{size: f"distil-whisper/{size}" for size in ("distil-large-v2", "distil-large-v3", "distil-large-v3.5")},
    "large": "openai/whisper-large-v3",
    "turbo": "openai/whisper-large-v3-turbo",
}
_SIZES: Final = {hub_id: size for size, hub_id in _HUB_IDS.items() if size not in {"large", "turbo"}}
_CTRANSLATE2_MARKS: Final = ("faster-", "ct2")  # in the names of models that were converted for it
_WEIGHTS: Final = ("model.bin", "model*.safetensors", "pytorch_model*.bin")


def known_as(native_model: str) -> Mapping[str, str]:
    """Return what each engine that runs it calls a model, the quicker engine first.

    native_model: a packaged one, a size as faster-whisper names it, a path, or a Hub id with or without @revision.
    """
    if native_model in {EMBEDDED, MULTILINGUAL}:
        return {FASTER_WHISPER: native_model, TRANSFORMERS: native_model}
    if is_path(native_model):
        is_converted = (Path(native_model).expanduser() / "model.bin").is_file()
        return dict.fromkeys((*([FASTER_WHISPER] * is_converted), TRANSFORMERS), native_model)
    if size := native_model if native_model in _HUB_IDS else _SIZES.get(native_model):
        return {FASTER_WHISPER: size, TRANSFORMERS: _HUB_IDS[size]}
    name = native_model.partition("@")[0]
    if name in _HUB_IDS or any(mark in name.lower() for mark in _CTRANSLATE2_MARKS):
        return {FASTER_WHISPER: native_model}
    return {TRANSFORMERS if find_spec("transformers") else FASTER_WHISPER: native_model}


def assumed(native_model: str, honoured: frozenset[str] = frozenset(GENERATION_NAMES)) -> Capabilities:
    """Return what a model can do as far as its name tells, which is much: once it is loaded, it says so itself."""
    is_english = native_model.partition("@")[0].endswith(".en")
    return Capabilities(
        generation=honoured,
        timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
        tasks=frozenset({Task.TRANSCRIBE}) if is_english else frozenset(Task),
        languages=frozenset({"en"}) if is_english else None,
        prompt=True,
    )


def weights_bytes(native_model: str) -> int:
    """Return the size of a model's files where its name is a path; else 0: it is known once they are loaded."""
    if not is_path(native_model):
        return 0
    folder = Path(native_model).expanduser()
    return sum(file.stat().st_size for pattern in _WEIGHTS for file in folder.glob(pattern))


def is_path(native_model: str) -> bool:
    """Tell a folder from a name."""
    return native_model.startswith(("/", "./", "../", "~"))
