"""What a worker holds at rest, and during large uploads: memory alone, which a busy machine does not change."""

from __future__ import annotations

import subprocess
import sys

from tests.bench.large import Figure, figures

NEEDED_LATER = ("av", "redis", "opentelemetry", "faster_whisper", "ctranslate2", "numpy", "providers.emulators")


def test_a_worker_stays_within_what_it_may_hold() -> None:
    measured = list(figures(with_start=False, with_huge=False))

    assert [figure for figure in measured if figure.is_missed] == []
    assert [figure.name for figure in measured if figure.target is not None]


def test_a_server_is_imported_without_what_is_needed_later() -> None:
    program = f"import sys, gateway.cli, gateway.serve; print([each for each in {NEEDED_LATER} if each in sys.modules])"
    ran = subprocess.run((sys.executable, "-c", program), check=True, capture_output=True, text=True)

    assert ran.stdout.strip() == "[]"


def test_a_figure_above_its_target_is_missed() -> None:
    assert Figure("peak", 150.1, "MB", 150).is_missed
    assert not Figure("peak", 150.0, "MB", 150).is_missed
    assert not Figure("settled", 1000.0, "MB").is_missed
