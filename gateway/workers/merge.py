"""What several workers say of themselves, as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.utils import floatToGoString

from gateway.metrics.declared import ALL, DeclaredHistogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from prometheus_client import Metric
    from prometheus_client.samples import Sample

_WORST_FIRST: Final = ("loading", "draining", "degraded", "ready")
_REDIS: Final = ("lost", "ready", None)  # as whoever is worst off sees it
_STATES: Final = ("open", "half-open", "parked", "closed")  # of a deployment, worst first

_BY_NAME: Final = {
    name: each for each in ALL for name in (each.name, f"{each.name}_total") if not isinstance(each, DeclaredHistogram)
}


def statuses(told: Sequence[Mapping[str, Any]], workers: int) -> dict[str, Any]:
    """Return the workers' statuses as one: sums, and the worst of each deployment's states.

    workers: as many as there should be. One that does not answer, or is just being started again, is no good news.
    """
    silent = ("degraded",) if len(told) < workers else ()
    return {
        **(told[0] if told else {}),
        "status": min((*(each["status"] for each in told), *silent), key=_WORST_FIRST.index),
        "in_flight": sum(each["in_flight"] for each in told),
        "missing": list(dict.fromkeys(sentence for each in told for sentence in each["missing"])),
        "reload_error": next((each["reload_error"] for each in told if each["reload_error"]), None),
        "redis": min((each["redis"] for each in told), key=_REDIS.index, default=None),
        "workers": len(told),
        "deployments": [_deployment(same) for same in _by_name(told)],
    }


def _by_name(told: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for deployment in (each for worker in told for each in worker["deployments"]):
        found.setdefault(deployment["deployment"], []).append(deployment)
    return list(found.values())


def _deployment(same: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    worst = min(same, key=lambda each: _STATES.index(each["state"]))
    paces = [each["pace"] for each in same if each["pace"] is not None]
    return {
        **worst,
        "in_flight": sum(each["in_flight"] for each in same),
        "waiting": sum(each["waiting"] for each in same),
        "pace": sum(paces) / len(paces) if paces else None,
        "last_minute": _last_minute([each["last_minute"] for each in same]),
    }


def _last_minute(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what workers counted as one; the median as the middle of theirs, weighed by their calls."""
    medians = sorted((each["median_s"], each["calls"]) for each in told if each["median_s"] is not None)
    sums = {name: sum(each[name] for each in told) for name in ("calls", "errors")}
    return {**sums, "median_s": _middle(medians)}


def _middle(weighed: Sequence[tuple[float, int]]) -> float | None:
    """Return the smallest value that half of the weight does not exceed. weighed: in order, none of weight 0."""
    half, passed = sum(weight for _, weight in weighed) / 2, 0
    for value, weight in weighed:
        passed += weight
        if passed >= half:
            return value
    return None


def caches(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the workers keep of answers: a sum of memories, or one store they share."""
    whole = sum if told[0]["store"] == "memory" else max
    return {
        "store": told[0]["store"],
        "entries": whole(each["entries"] for each in told),
        "bytes": whole(each["bytes"] for each in told),
        "evictions": sum(each["evictions"] for each in told),
    }


def metrics(texts: Sequence[bytes]) -> bytes:
    """Return what several processes show as one process's, in Prometheus' text format."""
    samples: dict[str, dict[str, list[Sample]]] = {}
    heads: dict[str, str] = {}
    for text in texts:
        for family in _families(text):
            heads[family.name] = _head(family)
            of_family = samples.setdefault(family.name, {})
            for sample in family.samples:
                of_family.setdefault(_written(sample.name, sample.labels), []).append(sample)
    whole = (heads[family] + "".join(_line(*each) for each in of.items()) for family, of in samples.items())
    return "".join(whole).encode()


def _families(text: bytes) -> Iterable[Metric]:
    families: Iterable[Metric] = text_string_to_metric_families(text.decode())
    return families


def _head(family: Metric) -> str:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return f"# HELP {name} {_one_line(family.documentation)}\n# TYPE {name} {family.type}\n"


def _line(name: str, same: Sequence[Sample]) -> str:
    number: str = floatToGoString(_merged(same))  # type: ignore[no-untyped-call]
    return f"{name} {number}\n"


def _merged(same: Sequence[Sample]) -> float:
    """Return the one number of what each says: as it is declared, and the sum where nothing is."""
    known = _BY_NAME.get(same[0].name)
    across = sum if known is None else known.across_processes(same[0].labels)
    return across(each.value for each in same)


def _written(name: str, labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
    return f"{name}{{{inner}}}" if inner else name


def _escaped(value: str) -> str:
    return _one_line(value).replace('"', r"\"")


def _one_line(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")
