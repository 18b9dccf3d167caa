"""What traces cost: gateways that keep none, a tenth and all of them, in one run. python -m tests.bench.traces.

Loopback only; bounded in time. Rounds are taken in turn, so that drift hits all alike. Quote ratios.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.bodies import Form
from tests.bench.load import Load, closed
from tests.bench.processes import Running, cpu_s, started

SAMPLES = {"off": None, "sample 0": 0.0, "sample 0.1": 0.1, "sample 1.0": 1.0}
ROUNDS = 5
BODY_BYTES = 20_000  # small: what traces cost does not grow with the audio
CACHES = {"called": "none", "kept": "memory"}
SECONDS = 2.0
SETTLE_S = 0.5


def configuration(upstream: str, collector: str, sample: float | None, store: str) -> str:
    """Return a gateway's file. collector: where spans go."""
    tracing = "" if sample is None else f"tracing: {{endpoint: '{collector}', sample: {sample}}}\n"
    return (
        f"server: {{port: 0}}\nusage: {{store: none}}\ncache: {{store: {store}}}\nlogs: {{level: error}}\n"
        f"providers: {{hf: {{adapter: hf-inference, base_url: '{upstream}', api_key: x}}}}\n"
        f"models: {{openai/whisper-large-v3: {{targets: [hf/openai/whisper-large-v3]}}}}\n{tracing}"
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """One gateway's figures in one round."""

    rate: float  # requests a second at 16 in flight
    cpu_ms: float  # of its process for a request: what a loaded machine does not change


def measure(gateways: dict[str, Running]) -> dict[str, list[Measured]]:
    """Measure each, round by round."""
    results: dict[str, list[Measured]] = {name: [] for name in gateways}
    loads = {name: Load(each.url, Form.RAW, BODY_BYTES, is_same=True) for name, each in gateways.items()}
    for load in loads.values():
        closed(load, 0, 4, 0.5)  # warm
    for _ in range(ROUNDS):
        for name, each in gateways.items():
            before = cpu_s(each.pid)
            done = closed(loads[name], 0, 16, SECONDS)
            time.sleep(SETTLE_S)  # spans are sent in batches: sending the last belongs to what the requests cost
            results[name].append(Measured(done.rate, (cpu_s(each.pid) - before) / done.count * 1000))
    return results


def main() -> None:
    """Print a table for answers that are asked for, and for answers that are kept."""
    quickly = {**os.environ, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    servers = (sys.executable, "-m", "tests.bench.servers")
    for title, store in CACHES.items():
        with TemporaryDirectory() as folder, ExitStack() as running:
            upstream = running.enter_context(started(*servers, "upstream"))
            collector = running.enter_context(started(*servers, "upstream"))
            gateways = {}
            for name, sample in SAMPLES.items():
                file = Path(folder) / f"{name}.yaml"
                file.write_text(configuration(upstream.url, collector.url, sample, store))
                command = (sys.executable, "-m", "gateway.cli", "serve", "--config", str(file))
                gateways[name] = running.enter_context(started(*command, environ=quickly))
            report(title, measure(gateways))


def report(title: str, results: dict[str, list[Measured]]) -> None:
    """Print medians, and ratios to the first pair by pair."""
    base = results["off"]
    for name, mine in results.items():
        ratios = sorted(one.rate / other.rate for one, other in zip(mine, base, strict=True))
        cpu = [each.cpu_ms for each in mine]
        print(
            f"{title:7} {name:11} {statistics.median(cpu):.3f} ms of processor time a request"
            f" ({min(cpu):.3f} to {max(cpu):.3f}), {statistics.median(each.rate for each in mine):5.0f} requests/s"
            f" at 16, {statistics.median(ratios):.2f} of off ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
