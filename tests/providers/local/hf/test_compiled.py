"""`compile`: the same text, nobody who waits for a compiler once it is loaded, and none where there is no compiler."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from torch._dynamo.utils import counters

from providers.local.hf.checkpoint import LoadOptions
from providers.local.hf.load import load
from providers.local.loading import Download, NotCompiled
from providers.local.models import EMBEDDED
from providers.types import Timestamps, TranscriptionJob
from tests.conftest import sample_audio
from tests.golden import tiny
from tests.providers.local.hf import tiny_models

if TYPE_CHECKING:
    from pathlib import Path

    from providers.local.engine import Engine

COMPILED = LoadOptions(device="cpu", compile=True)


def said(engine: Engine, names: tuple[str, ...]) -> list[object]:
    """Return what is heard of recordings in one batch, all windows of them."""
    jobs = [TranscriptionJob(model="m", audio=sample_audio(name), timestamps=Timestamps.WORD) for name in names]
    heard = engine.hear([piece for job in jobs for piece in engine.pieces(job)], lambda: False)
    return [(each.text, each.segments, len(each.words)) for each in heard]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own, of what it compiles with
@pytest.mark.timeout(900)  # a minute of compilers, and on a machine that does other things more
def test_a_compiled_model_hears_the_same_and_compiles_only_while_it_is_loaded() -> None:
    """One recording, several, another number of them, one of several windows; in another thread than loaded it."""
    told: list[Download | NotCompiled] = []
    engine = load(EMBEDDED, COMPILED, told.append)
    assert told == []
    made = counters["stats"]["unique_graphs"]
    assert made >= 2
    with ThreadPoolExecutor(1) as elsewhere:
        for names in (
            ("jfk.flac",),
            ("jfk.flac", "sb_spk1_snt1.flac"),
            ("arctic_a0024.wav", "jfk.flac", "sb_spk2_snt1.flac"),
            ("two_cities.flac",),
            ("jfk.flac",),
        ):
            assert elsewhere.submit(said, engine, names).result() == said(tiny(), names)
    assert counters["stats"]["unique_graphs"] == made


def test_what_is_not_compiled_is_told(tmp_path: Path) -> None:
    told: list[Download | NotCompiled] = []
    load(str(tiny_models.moonshine(tmp_path)), COMPILED, told.append)

    assert told == [NotCompiled("models of this kind are run as they are")]
