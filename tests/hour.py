"""An hour of real speech on every way that a recording can take: `python -m tests.hour [WAY...] [--minutes 60]`.

The bundled English speech, one round of it after another, is sent to a gateway in a process of its own, over a socket;
one round alone before it, so that what the hour costs in words can be told from what the model costs. At low priority
and one thread each, some twenty minutes of a processor. The figures stand in docs/decisions/0020.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiohttp
import numpy as np
from rapidfuzz.distance import Levenshtein

from providers.audio.samples import MODEL_RATE_HZ, read_samples
from providers.emulators.ear import Emulation, LocalEar
from providers.local.models import EMBEDDED
from providers.registry import emulator_of
from tests.bench.processes import cpu_s, resident_bytes
from tests.conftest import KEY, encoded, sample_audio, serve, whisper
from tests.contract.test_word_errors import SPOKEN, words
from tests.engine import engine_program
from tests.program import program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from aiohttp import web

_NICENESS: Final = 5
_PART_S: Final = 60  # of what a provider is asked for at once: an hour has some sixty seams then
_SHOWN: Final = 12
_PATIENT: Final = {"server": {"deadline": {"per_audio_second": 4.0, "max": "8h"}, "max_upload": "1GiB"}}


class Recording(NamedTuple):
    """Speech, and what is said in it."""

    content: bytes  # FLAC
    duration_s: float
    said: list[str]
    starts_s: list[float]  # of the clip that each word is in


class Way(NamedTuple):
    """A gateway that is up, and the processes that hear: its own, or an engine's too."""

    url: str
    pids: tuple[int, ...]


# --- the speech


def rounds(count: int) -> Recording:
    """Return so many rounds of the bundled English speech: each the same, with pauses of 0.3 to 2 s."""
    once = {str(each.values[1]): str(each.values[0]) for each in SPOKEN}  # one file of those that hold the same
    chance = random.Random(1)  # noqa: S311 - pauses, always the same
    pieces: list[np.ndarray[Any, Any]] = []
    said: list[str] = []
    in_round_s: list[float] = []
    length = 0
    for text, name in once.items():
        clip = read_samples(sample_audio(name).content, max_duration_s=60)
        pause = np.zeros(round(chance.uniform(0.3, 2.0) * MODEL_RATE_HZ), np.float32)
        of_clip = words(text)
        said += of_clip
        in_round_s += [length / MODEL_RATE_HZ] * len(of_clip)
        pieces += [clip, pause]
        length += len(clip) + len(pause)
    whole = np.tile((np.concatenate(pieces).clip(-1, 1) * 32_767).astype(np.int16), count)
    starts_s = [each + number * length / MODEL_RATE_HZ for number in range(count) for each in in_round_s]
    content = encoded(whole[np.newaxis], MODEL_RATE_HZ, "flac", "flac")
    return Recording(content, len(whole) / MODEL_RATE_HZ, said * count, starts_s)


# --- the ways


@asynccontextmanager
async def _here(engine: str, folder: Path) -> AsyncIterator[Way]:
    async with program(_routed({"adapter": "local", "engine": engine}, EMBEDDED), folder) as gateway:
        yield Way(gateway.url, (gateway.process.pid,))


@asynccontextmanager
async def _in_parts(folder: Path) -> AsyncIterator[Way]:
    """At a provider whose emulator hears with the same model, in this process."""
    runners: list[web.AppRunner] = []
    hub = emulator_of("openai")(Emulation(ear=LocalEar(whisper()), key=KEY))
    account = {"adapter": "openai", "base_url": f"{await serve(hub, runners)}/v1", "api_key": KEY}
    try:
        async with program(_routed(account, "whisper-1", long_audio={"part": _PART_S}), folder) as gateway:
            yield Way(gateway.url, (gateway.process.pid,))
    finally:
        await runners[0].cleanup()


@asynccontextmanager
async def _elsewhere(folder: Path) -> AsyncIterator[Way]:
    async with AsyncExitStack() as stack:
        file = folder / "engine.yaml"
        file.write_text("server: {max_upload: 1GiB}\n")
        engine = await stack.enter_async_context(engine_program("--config", str(file), "--model", EMBEDDED))
        document = _routed({"adapter": "engine", "base_url": engine.url}, EMBEDDED)
        gateway = await stack.enter_async_context(program(document, folder))
        yield Way(gateway.url, (gateway.process.pid, engine.process.pid))


WAYS: Final[dict[str, Callable[[Path], AbstractAsyncContextManager[Way]]]] = {
    "faster-whisper": lambda folder: _here("faster-whisper", folder),
    "transformers": lambda folder: _here("transformers", folder),
    "in-parts": _in_parts,
    "engine": _elsewhere,
}


def _routed(account: dict[str, Any], native_model: str, **route: Any) -> dict[str, Any]:
    target = {"target": f"there/{native_model}", "substitute": True}
    return {"providers": {"there": account}, "models": {"m": {"targets": [target], **route}}, **_PATIENT}


# --- what comes of it


class _Outcome(NamedTuple):
    """What became of the recording on a way."""

    alone: int  # errors of one round
    written: list[str]
    took_s: float
    spent_s: float  # of processors
    memory: str  # of each process, before and at most


async def figures(name: str, minutes: float) -> str:
    """Return lines: word errors of the hour, what it took, and where most words in a row are wrong."""
    one = rounds(1)
    count = max(1, round(minutes * 60 / one.duration_s))
    whole = rounds(count)
    with tempfile.TemporaryDirectory() as folder:
        async with WAYS[name](Path(folder)) as way:
            outcome = await _outcome(way, one, whole)
    edits = Levenshtein.editops(whole.said, outcome.written)
    kinds = {kind: sum(each.tag == kind for each in edits) for kind in ("replace", "delete", "insert")}
    head = (
        f"{name}: {len(edits)} errors of {len(whole.said)} words in {whole.duration_s:.0f} s "
        f"({kinds['replace']} changed, {kinds['delete']} lost, {kinds['insert']} added); {count} rounds alone: "
        f"{count * outcome.alone}; {outcome.took_s / whole.duration_s:.3f} s a second, "
        f"of processors {outcome.spent_s / whole.duration_s:.3f}; memory {outcome.memory}"
    )
    return "\n".join([head, *_longest_runs(edits, whole, outcome.written)]) + "\n"


async def _outcome(way: Way, one: Recording, whole: Recording) -> _Outcome:
    alone = Levenshtein.distance(one.said, words(await _asked(way, one)))
    before = [resident_bytes(pid, "VmRSS") for pid in way.pids]
    began_s, spent_s = time.monotonic(), _cpu_s(way)
    written = words(await _asked(way, whole))
    took_s, spent_s = time.monotonic() - began_s, _cpu_s(way) - spent_s
    most = [resident_bytes(pid, "VmHWM") for pid in way.pids]
    memory = ", ".join(f"{of[0] / 1e6:.0f} to {of[1] / 1e6:.0f} MB" for of in zip(before, most, strict=True))
    return _Outcome(alone, written, took_s, spent_s, memory)


async def _asked(way: Way, recording: Recording) -> str:
    patience = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(way.url, timeout=patience) as session,
        session.post("/models/m", data=BytesIO(recording.content)) as reply,
    ):
        answer = await reply.json()
    if reply.status != 200:
        raise RuntimeError(f"{reply.status}: {answer}")
    return str(answer["text"])


def _cpu_s(way: Way) -> float:
    return sum(cpu_s(pid) for pid in way.pids)


def _longest_runs(edits: Any, whole: Recording, written: list[str]) -> list[str]:
    """Return a line for each of the places where most words in a row are lost, added or changed."""
    runs: list[list[Any]] = []
    for each in edits:
        if runs and each.src_pos - runs[-1][-1].src_pos <= 1 and each.dest_pos - runs[-1][-1].dest_pos <= 1:
            runs[-1].append(each)
        else:
            runs.append([each])
    return [_shown(run, whole, written) for run in sorted(runs, key=len, reverse=True)[:_SHOWN]]


def _shown(run: list[Any], whole: Recording, written: list[str]) -> str:
    first, last = run[0], run[-1]
    said = " ".join(whole.said[max(0, first.src_pos - 2) : last.src_pos + 3])
    heard = " ".join(written[max(0, first.dest_pos - 2) : last.dest_pos + 3])
    at_s = whole.starts_s[min(first.src_pos, len(whole.starts_s) - 1)]
    return f"  {len(run)} in the clip at {at_s:.0f} s: said {said!r}, heard {heard!r}"


def _read() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ways", nargs="*", help="all of them unless told")
    parser.add_argument("--minutes", type=float, default=60.0)
    return parser.parse_args()


if __name__ == "__main__":
    asked = _read()
    os.nice(_NICENESS)
    os.environ["OMP_NUM_THREADS"] = "1"
    for way in asked.ways or WAYS:
        sys.stdout.write(asyncio.run(figures(way, asked.minutes)))
        sys.stdout.flush()
