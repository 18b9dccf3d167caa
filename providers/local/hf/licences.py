"""Weights that may not be used for business: loaded only where the operator has said that his use is none."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import yaml

from providers.local.models import ModelMissing

_NON_COMMERCIAL: Final = ("facebook/seamless-m4t-", "facebook/hf-seamless-m4t-", "facebook/mms-")
"""How ids on the Hugging Face Hub begin, lower case, whose weights are CC-BY-NC-4.0. Read on their model cards."""
_CARD: Final = "README.md"
_FENCE: Final = "---"


def check_licence(native_model: str, *, non_commercial: bool) -> None:
    """Refuse weights for non-commercial use that nobody opted in for. Raises ModelMissing.

    native_model: a Hub id, or a folder, which may hold its model card. Before anything is fetched.
    """
    licence = _licence_of(native_model)
    if licence and not non_commercial:
        raise ModelMissing(
            f"the weights of {native_model} are licensed for non-commercial use only ({licence}): "
            "set non_commercial: true on the account if yours is"
        )


def _licence_of(native_model: str) -> str | None:
    """Return the licence that forbids commercial use; None where none is known to."""
    folder = Path(native_model).expanduser()
    if folder.is_dir():
        stated = _stated(folder / _CARD)
        return stated if "-nc" in stated.lower() else None
    return "CC-BY-NC-4.0" if native_model.lower().startswith(_NON_COMMERCIAL) else None


def _stated(card: Path) -> str:
    """Return the licence that a model card states, or nothing: the YAML between the fences at its beginning."""
    try:
        text = card.read_text(encoding="utf-8")
        head = text.split(_FENCE)[1] if text.startswith(_FENCE) else ""
        stated = yaml.safe_load(head)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""
    return str(stated.get("license", "")) if isinstance(stated, dict) else ""
