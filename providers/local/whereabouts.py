"""Where the files of a local model are, as far as can be told without loading or fetching it.

Source: huggingface_hub 2.4 `try_to_load_from_cache`, and the names that transformers 5.24 and faster-whisper 1.2 give
to weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from providers.local.download import REPOSITORIES
from providers.local.models import EMBEDDED, ModelMissing, installed, locate, or_installed
from providers.local.names import FASTER_WHISPER, is_path
from providers.local.parts import WEIGHTS

_CONFIG: Final = "config.json"
_CHECKPOINTS: Final = (  # of several files the index
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


class Place(NamedTuple):
    """Where it is."""

    in_words: str
    is_here: bool = True  # else it is fetched when it is loaded, and whether that goes well shows then


def whereabouts(engine: str, name: str) -> Place:
    """Return where an engine would find a model. Blocking: files are looked at. Raises ModelMissing.

    name: as the engine calls it, see `known_as`.
    """
    if name == EMBEDDED:
        return Place(locate(name))
    if name in installed():
        return Place("its packages")
    if is_path(name):
        return Place(locate(name) if engine == FASTER_WHISPER else str(checkpoint_folder(name)))
    return _in_cache(engine, name)


def checkpoint_folder(native_model: str) -> Path:
    """Return the folder of a model that transformers can run. Raises ModelMissing."""
    folder = Path(native_model).expanduser()
    if not any((folder / name).is_file() for name in (WEIGHTS, _CONFIG)):
        raise ModelMissing(f"{folder} holds neither {_CONFIG} nor {WEIGHTS}: name the folder of a model")
    return folder


def on_hub(native_model: str) -> tuple[str, str | None]:
    """Return where transformers finds it: Hub id and revision. A size of Whisper's alone is OpenAI's own."""
    name, _, revision = native_model.partition("@")
    return name if "/" in name else f"openai/whisper-{name}", revision or None


def _in_cache(engine: str, name: str) -> Place:
    """Return where a model of the Hub is. Raises ModelMissing where it is not, and may not be fetched."""
    from huggingface_hub import constants  # noqa: PLC0415 - comes with the engines, which are optional

    repository, revision = _in_repository(name) if engine == FASTER_WHISPER else on_hub(name)
    weights = (WEIGHTS,) if engine == FASTER_WHISPER else _CHECKPOINTS
    if _is_cached(repository, revision, (_CONFIG,)) and _is_cached(repository, revision, weights):
        return Place(f"the Hub's cache, {repository}")
    if constants.HF_HUB_OFFLINE:
        raise ModelMissing(f"{repository} is not in the Hub's cache, and HF_HUB_OFFLINE is set{or_installed(name)}")
    return Place(f"the Hub, {repository}, where it is still to be fetched", is_here=False)


def _in_repository(name: str) -> tuple[str, str | None]:
    """Return where faster-whisper finds it: Hub id and revision."""
    size, _, revision = name.partition("@")
    return REPOSITORIES.get(size, size), revision or None


def _is_cached(repository: str, revision: str | None, any_of: tuple[str, ...]) -> bool:
    """Tell whether the cache has one of the files. Raises ModelMissing where the Hub has no such names."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - as above

    try:
        return any(isinstance(try_to_load_from_cache(repository, file, revision=revision), str) for file in any_of)
    except ValueError as error:
        raise ModelMissing(f"{repository!r} is neither a folder nor a name on the Hugging Face Hub") from error
