"""Weights for non-commercial use are loaded by those who said that theirs is."""

from __future__ import annotations

from pathlib import Path

import pytest

from providers.local.hf.checkpoint import LoadOptions
from providers.local.hf.licences import check_licence
from providers.local.hf.load import load
from providers.local.models import ModelMissing

SEAMLESS = "facebook/seamless-m4t-v2-large"


@pytest.mark.parametrize(
    "model",
    [SEAMLESS, f"{SEAMLESS}@5f8cc790b19fc3f67a61c105133b20b34e3dcb76", SEAMLESS.upper(), "facebook/mms-1b-all"],
)
def test_a_known_model_has_to_be_opted_in_for(model: str) -> None:
    with pytest.raises(ModelMissing, match=r"non-commercial use only \(CC-BY-NC-4.0\): set non_commercial: true"):
        check_licence(model, non_commercial=False)
    check_licence(model, non_commercial=True)


def test_it_is_asked_before_anything_is_fetched() -> None:
    with pytest.raises(ModelMissing, match="non-commercial use only"):
        load(SEAMLESS, LoadOptions())


@pytest.mark.parametrize("licence", ["cc-by-nc-4.0", "CC-BY-NC-SA-4.0", "cc-by-nc-nd-4.0"])
def test_a_folder_says_so_in_its_model_card(tmp_path: Path, licence: str) -> None:
    (tmp_path / "README.md").write_text(f"---\nlanguage: en\nlicense: {licence}\n---\n# A model\n")

    with pytest.raises(ModelMissing, match=licence):
        check_licence(str(tmp_path), non_commercial=False)
    check_licence(str(tmp_path), non_commercial=True)


@pytest.mark.parametrize(
    "card",
    [
        None,
        b"",
        b"---",
        b"# no head",
        b"---\nlicense: mit\n---\n",
        b"---\nlicense: [\n---\n",
        b"---\n- a list\n---\n",
        b"---\nlanguage: en\n---\nlicense: cc-by-nc-4.0",
        b"\xff\xfe",
    ],
)
def test_what_says_nothing_of_it_is_loaded(tmp_path: Path, card: bytes | None) -> None:
    if card is not None:
        (tmp_path / "README.md").write_bytes(card)

    check_licence(str(tmp_path), non_commercial=False)
    check_licence("openai/whisper-large-v3", non_commercial=False)
