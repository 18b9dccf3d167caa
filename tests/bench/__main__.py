"""The gateway beside nginx, a bare relay and other gateways, in one run.

`make bench`, or `make bench SHORT=1` for a try. Loopback only; bounded in time. Every answer is checked, and one
failure voids the run. A full run writes docs/benchmarks.md and its plot; a short one writes the same under build/bench,
for its form and not for its figures.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.load import Clients, Void
from tests.bench.report import write
from tests.bench.rounds import FULL, SHORT, Bench, verify
from tests.bench.targets import ROOT, all_before, digesting, upstream


def main() -> int:
    """Return the exit code."""
    is_short = os.environ.get("BENCH_SHORT", "") not in {"", "0"}
    plan, into = (SHORT, ROOT / "build/bench") if is_short else (FULL, ROOT / "docs")
    clients = Clients(max(1, min(4, (os.cpu_count() or 1) // 4)))
    with TemporaryDirectory() as name:
        folder = Path(name)
        try:
            with digesting() as up, all_before(up, folder / "digests") as targets:
                digests = verify(targets, plan)
            with upstream(folder / "upstream") as (up, sizes), all_before(up, folder / "timed") as targets:
                results = Bench(plan, targets, sizes, clients).run()
        except Void as reason:
            print(f"The run is void: {reason}", file=sys.stderr)
            return 1
        finally:
            clients.close()
    results.digests = digests
    print(write(results, plan, into))
    return 0


if __name__ == "__main__":
    sys.exit(main())
