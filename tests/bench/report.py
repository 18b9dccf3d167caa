"""A run's figures as a page and a plot. Ratios are of two measurements of one round, which stand side by side."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tests.bench.bodies import Form
from tests.bench.goals import goals
from tests.bench.rounds import Cell, Measured
from tests.bench.targets import DIRECT, GATEWAY, LITELLM, NGINX, PORTKEY, RELAY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.bench.rounds import Plan, Results

PAGE, PLOT = "benchmarks.md", "benchmarks.svg"
_CLIENT_BOUND = 0.85
_BAR = 0.2  # of the width of a group
_HEAD = """# Benchmarks

<!-- Written by `make bench`; do not edit. -->

{machine}

All targets stand in front of one upstream that answers as soon as it has the whole body, on loopback, in one run: each
round measures every target in turn, and ratios are of two measurements of one round: the median, with the lowest and
the highest in brackets. Quote ratios: the machine, which client and upstream share, is part of every absolute figure.

- **direct**: nginx as the upstream, with nothing between. **nginx**: nginx as a proxy, one worker, as it comes.
- **bare relay**: aiohttp and uvloop, [the least that a proxy which can retry must do](../tests/bench/servers.py).
- **spooling relay**: the same with the body in a file without a name, for 24 MB alone.
- **gateway**: this gateway in one process with keys, limits, memory cache, ledger, metrics and a log in a file; every
  request is a miss. **kept answer**: the same, asked again for what it has.
{others}
Bodies are real speech, WAV to Hugging Face's front and MP3 as OpenAI's form, no two alike. {requests} answers were
checked: status, text, `X-Gateway-Cache`, and at the upstream the count and size of the requests, as nginx logged them.
What nginx cannot tell, a second upstream did before: {digests} uploads, of each form and size through each target, had
the same SHA-256 at both ends. One failure would have voided the run. `make bench` repeats it; `make bench-rivals`
installs the others.

![Requests a second as a share of the bare relay's, at 16 in flight](benchmarks.svg)
"""


def write(results: Results, plan: Plan, into: Path) -> str:
    """Write the page and the plot into a folder; return the page."""
    into.mkdir(parents=True, exist_ok=True)
    text = page(results, plan)
    (into / PAGE).write_text(text)
    plot(results, into / PLOT)
    return text


def page(results: Results, plan: Plan) -> str:
    """Return the page's text."""
    others = sorted({name for cells in results.closed.values() for name in cells if name in {LITELLM, PORTKEY}})
    told = f"- {' and '.join(others)}: OpenAI's form alone, as installed, one process.\n" if others else ""
    missing = "" if others else "- LiteLLM and Portkey were not installed for this run.\n"
    head = _HEAD.format(machine=machine(), others=told + missing, requests=results.requests, digests=results.digests)
    parts = [
        head,
        _goals(results),
        *(_form(results, form) for form in Form),
        _open(results),
        _stages(results),
        _memory(results),
    ]
    parts.append(f"{plan.rounds} rounds of {plan.seconds} s for each figure.")
    return "\n".join(parts) + "\n"


def machine() -> str:
    """Describe what it ran on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    asked = subprocess.run(["nginx", "-v"], check=True, capture_output=True, text=True)
    load = os.getloadavg()[2]
    return (
        f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, Python "
        f"{platform.python_version()}, {asked.stderr.strip().rpartition('/')[2]} as nginx; load average {load:.1f}."
    )


def _form(results: Results, form: Form) -> str:
    cells = sorted(cell for cell in results.closed if cell.form is form)
    names = list(dict.fromkeys(name for cell in cells for name in results.closed[cell]))
    ratios = [name for name in names if name != RELAY]
    header = ["audio", "in flight", "bare relay", *ratios]
    rates = [
        [*_load(cell), _rate(results.closed[cell][RELAY]), *(_ratio(results, cell, name) for name in ratios)]
        for cell in cells
    ]
    return "\n".join(
        [
            f"## {form}\n",
            "Requests a second of the bare relay, and of the others as shares of it. `*`: the client was the limit.\n",
            _table(header, rates),
            "\nMedian latency at one in flight, ms.\n",
            _table(["audio", *names], _rows(results, cells, 1, names, lambda one: one.p50_s * 1e3)),
            "\nProcessor time of the target for a request at 16 in flight, ms.\n",
            _table(["audio", *names], _rows(results, cells, 16, names, lambda one: one.cpu_s * 1e3)),
        ]
    )


def _rows(
    results: Results, cells: Sequence[Cell], in_flight: int, names: Sequence[str], of: Callable[[Measured], float]
) -> list[list[str]]:
    return [
        [
            _size(cell.size_bytes),
            *(_spread([of(each) for each in results.closed[cell].get(name, [])]) for name in names),
        ]
        for cell in cells
        if cell.in_flight == in_flight
    ]


def _load(cell: Cell) -> tuple[str, str]:
    return _size(cell.size_bytes), str(cell.in_flight)


def _rate(rounds: Sequence[Measured]) -> str:
    return f"{statistics.median(each.rate for each in rounds):.4g}/s{_mark(rounds)}"


def _mark(rounds: Sequence[Measured]) -> str:
    return " *" if statistics.median(each.client_busy for each in rounds) > _CLIENT_BOUND else ""


def ratios(results: Results, cell: Cell, name: str) -> list[float]:
    """Return a target's requests a second as shares of the bare relay's in the same round."""
    pairs = zip(results.closed[cell][name], results.closed[cell][RELAY], strict=True)
    return [mine.rate / relay.rate for mine, relay in pairs]


def _ratio(results: Results, cell: Cell, name: str) -> str:
    if name not in results.closed[cell]:  # what is this small is not sent there
        return "-"
    return _spread(ratios(results, cell, name)) + _mark(results.closed[cell][name])


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def _size(size: int) -> str:
    return f"{size / 1e6:g} MB" if size >= 1_000_000 else f"{size / 1e3:g} kB"


def _goals(results: Results) -> str:
    rows = [[each.aim, each.target, each.measured, "yes" if each.is_met else "no"] for each in goals(results)]
    return "## What it aims at\n\n" + _table(["aim", "target", "measured", "met"], rows) + "\n"


def _open(results: Results) -> str:
    rows = [
        [
            f"{share:.0%}",
            name,
            _spread([each.p50_s * 1e3 for each in rounds]),
            _spread([each.p99_s * 1e3 for each in rounds]),
        ]
        for share, targets in results.open.items()
        for name, rounds in targets.items()
    ]
    return (
        "\n## At a fixed rate\n\nOpen loop, 150 kB, HF raw: requests are due at even intervals, and time counts from"
        " then. Rates are shares of what the gateway does at 16 in flight; all targets are given the same.\n\n"
        + _table(["rate", "target", "p50, ms", "p99, ms"], rows)
    )


def _stages(results: Results) -> str:
    names = list(dict.fromkeys(name for steps in results.stages_s.values() for name in steps))
    rows = [[name, *(f"{steps.get(name, 0) * 1e6:.0f}" for steps in results.stages_s.values())] for name in names]
    return (
        "\n## By step\n\nOne request of 150 kB, one in flight, in us, by the gateway's own metrics; `attempt` has the"
        " upstream in it.\n\n" + _table(["step", *results.stages_s], rows)
    )


def _memory(results: Results) -> str:
    rows = [
        [name, *(f"{value / 1e6:.0f} MB" for value in (each.idle, each.before, each.peak, each.settled))]
        for name, each in results.memory.items()
    ]
    starts = [[name, f"{seconds:.2f} s"] for name, seconds in results.start_s.items() if name != DIRECT]
    return (
        "\n## Memory and start\n\nResident, around eight uploads of 24 MB at once, after all the rounds: the gateway"
        " keeps their answers.\n\n"
        + _table(["target", "after the start", "before", "peak", "settled"], rows)
        + "\n\nFrom the command to the open port.\n\n"
        + _table(["target", "start"], starts)
        + "\n"
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))


def plot(results: Results, file: Path) -> None:
    """Draw each target's share of the bare relay's requests a second, at 16 in flight, by size, with its spread."""
    cells = sorted(cell for cell in results.closed if cell.in_flight == 16)
    here = {name for cell in cells for name in results.closed[cell]}
    names = [name for name in (NGINX, GATEWAY, LITELLM, PORTKEY) if name in here]
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    axes = figure.subplots()
    for place, name in enumerate(names):
        found = {at: ratios(results, cell, name) for at, cell in enumerate(cells) if name in results.closed[cell]}
        middles = [statistics.median(each) for each in found.values()]
        below = [middle - min(each) for middle, each in zip(middles, found.values(), strict=True)]
        above = [max(each) - middle for middle, each in zip(middles, found.values(), strict=True)]
        at = [each + (place - (len(names) - 1) / 2) * _BAR for each in found]
        axes.bar(at, middles, _BAR, label=name, yerr=[below, above], capsize=2)
    axes.axhline(1.0, color="black", linewidth=0.8)  # the bare relay
    axes.set_xticks(range(len(cells)), [_label(cell) for cell in cells], fontsize=8)
    axes.set_ylabel("share of the bare relay's requests a second")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    figure.legend(loc="outside upper center", ncols=len(names))
    figure.savefig(file, format="svg", metadata={"Date": None})


def _label(cell: Cell) -> str:
    return "\n".join((*cell.form.split(), _size(cell.size_bytes)))
