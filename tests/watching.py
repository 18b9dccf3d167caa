"""What a gateway tells its operator, for tests to look at."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gateway.logs import LOG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.app import Gateway


@contextmanager
def log_lines() -> Iterator[list[dict[str, Any]]]:
    """Collect the fields of every log line, `event` and `level` among them."""
    lines: list[dict[str, Any]] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append({"event": record.getMessage(), "level": record.levelname, **getattr(record, "fields", {})})

    handler, before = Collect(), LOG.level
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(before)


def samples(gateway: Gateway) -> dict[str, float]:
    """Return every sample of every metric by its name and labels, as Prometheus writes them."""
    found: dict[str, float] = {}
    for metric in gateway.metrics.registry.collect():
        for each in metric.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(each.labels.items()))
            found[f"{each.name}{{{labels}}}"] = each.value
    return found


def is_at_rest(gateway: Gateway) -> bool:
    """Tell whether every gauge is back at zero and nothing is kept."""
    gauges = {name: value for name, value in samples(gateway).items() if name.startswith(GAUGES)}
    assert len(gauges) >= len(GAUGES)
    return not any(gauges.values()) and gateway.drain.in_flight == 0


GAUGES = ("asr_requests_in_flight", "asr_spool_bytes")
