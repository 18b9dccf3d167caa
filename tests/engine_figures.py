"""Word errors and processor time of both engines on the bundled English: `python -m tests.engine_figures`.

One thread each. The figures stand in docs/decisions/0019.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from providers.local.engine import heard
from providers.types import TranscriptionJob
from tests.conftest import sample_audio, whisper
from tests.contract.test_word_errors import SPOKEN, errors, words
from tests.golden import tiny

if TYPE_CHECKING:
    from providers.local.engine import Engine


def figures(name: str, engine: Engine) -> str:
    """Return a line: errors, words, and processor time over audio time, one recording after another."""
    wrong = spoken = 0
    took_s = audio_s = 0.0
    for each in SPOKEN:
        job = TranscriptionJob(model="m", audio=sample_audio(str(each.id)))
        started = time.process_time()
        found = heard(engine, job)
        took_s += time.process_time() - started
        audio_s += found.duration_s or 0.0
        said = words(str(each.values[1]))
        wrong += errors(said, words(found.text))
        spoken += len(said)
    return f"{name}: {wrong} errors of {spoken} words, {took_s / audio_s:.3f} s a second of {audio_s:.0f} s of audio\n"


if __name__ == "__main__":
    sys.stdout.write(figures("faster-whisper", whisper()))
    sys.stdout.write(figures("transformers", tiny()))
