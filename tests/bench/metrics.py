"""What counting costs: a request's numbers alone, and a gateway beside itself without them, in one run.

Run `python -m tests.bench.metrics`. CPU time, so that whoever else uses the machine is left out of it.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gateway import cli, stages
from gateway.dispatch.answers import Attempt
from gateway.metrics import Metrics, counted, exposed
from gateway.observe import Observed
from gateway.stages import Stage, Stages, noted_in, timed
from tests.bench.bodies import Form
from tests.bench.load import Load, closed
from tests.bench.processes import Running, cpu_s, started

if TYPE_CHECKING:
    from collections.abc import Callable

BODY_BYTES = 150_000
ROUNDS = 20
SECONDS = 1.0
_STAGES = (Stage.RECEIVE, Stage.PROBE, Stage.CACHE, Stage.ATTEMPT, Stage.RENDER)
_CALL = Attempt(deployment="hf/whisper", outcome="ok", seconds=0.3, audio_s=4.7)


def main() -> None:
    """Print both tables."""
    for name, environ in (("one process", {}), ("several", {"PROMETHEUS_MULTIPROC_DIR": tempfile.mkdtemp()})):
        subprocess.run([sys.executable, "-m", __spec__.name, name], env={**os.environ, **environ}, check=True)
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder))


def alone(name: str) -> None:
    """Print what a request's numbers cost."""
    metrics = Metrics()
    print(f"{name}: a request's numbers {_each_us(lambda: request(metrics)):.1f} us", end="; ")
    for model in range(100):
        metrics.request(_observed(f"m-{model}"), "200", 0.3)
        metrics.attempt(f"hf/m-{model}", _CALL)
    begun = time.process_time()
    lines = len(asyncio.run(exposed(metrics, "")).body.splitlines())
    print(f"{lines} lines {1e3 * (time.process_time() - begun):.1f} ms")


def request(metrics: Metrics) -> None:
    """Count all that a request which is answered by its first deployment counts."""
    metrics.in_flight += 1
    with noted_in(Stages(metrics.stages)):
        for each in _STAGES:
            with timed(each):
                pass
    metrics.cache_lookup("memory", found=False)
    metrics.flight("led")
    metrics.attempt("hf/whisper", _CALL)
    metrics.in_flight -= 1
    metrics.request(_observed("whisper"), "200", 0.3)


def _observed(model: str) -> Observed:
    return Observed(
        request_id="",
        started=0.0,
        front="hf",
        caller="newsroom",
        model=model,
        label=f"hf/{model}",
        cache="miss",
        audio_s=4.7,
        upload_bytes=BODY_BYTES,
    )


def _each_us(work: Callable[[], object], times: int = 5_000) -> float:
    rounds = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        for _ in range(times):
            work()
        rounds.append((time.process_time() - begun) / times)
    return 1e6 * min(rounds)


def uncounted() -> None:
    """Serve as the program does, and count nothing."""
    for name in ("request", "attempt", "cache_lookup", "flight"):
        setattr(counted.Metrics, name, lambda *_, **__: None)
    stages.Timing.__enter__ = lambda self: self  # type: ignore[method-assign]
    stages.Timing.__exit__ = lambda *_: None  # type: ignore[method-assign]
    cli.main()


def compare(folder: Path) -> None:
    """Print the CPU time of a request with numbers and without, in turn."""
    with started(sys.executable, "-m", "tests.bench.servers", "upstream") as upstream:
        config = folder / "gateway.yaml"
        config.write_text(
            f"server: {{port: 0}}\nusage: {{store: none}}\ncache: {{store: none}}\n"
            f"providers: {{hf: {{adapter: hf-inference, base_url: '{upstream.url}', api_key: x}}}}\n"
            "models: {openai/whisper-large-v3: {targets: [hf/openai/whisper-large-v3]}}\n"
        )
        serve = ("serve", "--config", str(config))
        with (
            started(sys.executable, "-m", "gateway.cli", *serve) as counting,
            started(sys.executable, "-m", "tests.bench.metrics", *serve) as bare,
        ):
            pairs = []
            for each in (counting, bare):
                _cpu_us(each)  # warm
            for _ in range(ROUNDS):
                pairs.append((_cpu_us(counting), _cpu_us(bare)))  # noqa: PERF401 - measured
    ours, without = (statistics.median(each) for each in zip(*pairs, strict=True))
    ratios = sorted(with_ / bare for with_, bare in pairs)
    print(f"CPU of a request: {ours:.0f} us, without numbers {without:.0f} us")
    print(f"ratio {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})")


def _cpu_us(gateway: Running) -> float:
    before = cpu_s(gateway.pid)
    done = closed(Load(gateway.url, Form.RAW, BODY_BYTES, is_same=True), 0, 16, SECONDS)
    return 1e6 * (cpu_s(gateway.pid) - before) / done.count


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    elif sys.argv[1] == "serve":
        uncounted()
    else:
        alone(sys.argv[1])
