"""docs/metrics.md, from the declarations. Run `python -m tests.metrics_table` to renew it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gateway.metrics.declared import ALL, DeclaredCounter, DeclaredHistogram

if TYPE_CHECKING:
    from gateway.metrics.declared import Declared

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"
_HEAD = """# Metrics

Made from `gateway/metrics/declared.py` by `python -m tests.metrics_table`; a test keeps it current.

`GET /metrics` (an admin's key) answers in Prometheus' text format, or in OpenMetrics where the scraper asks for it.
With several workers, whichever is asked answers for all: counters and histograms are the sum of everything that any
worker has counted, of those too that have ended; gauges are of the workers there are, added up unless the table says
otherwise. Exemplars with trace ids come with OpenMetrics, one worker, and tracing on.

Labels take words of the gateway's own and names from its configuration, so that no caller can make a series: a model
that the configuration does not name is `other`, a deployment behind a wildcard `account/other`, and so is a key beyond
200 that were made while it runs.

"""


def page() -> str:
    """Return the page as it should be."""
    lines = ["| metric | type | labels | what it says |", "|---|---|---|---|", *map(_line, ALL)]
    return _HEAD + "\n".join(lines) + "\n"


def _line(metric: Declared) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
    return f"| `{_name(metric)}` | {_type(metric)} | {labels} | {metric.help}{_across(metric)} |"


def _name(metric: Declared) -> str:
    return f"{metric.name}_total" if isinstance(metric, DeclaredCounter) else metric.name


def _type(metric: Declared) -> str:
    return type(metric).__name__.removeprefix("Declared").lower()


def _across(metric: Declared) -> str:
    if isinstance(metric, DeclaredHistogram) or metric.across is sum:
        return ""
    return f" Of several workers: the {'highest' if metric.across is max else 'lowest'}."


if __name__ == "__main__":
    PAGE.write_text(page())
