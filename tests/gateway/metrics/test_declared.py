"""Every metric is declared once, with a meaning, in base units."""

from __future__ import annotations

import re

from gateway.metrics import Metrics
from gateway.metrics.declared import ALL, DeclaredHistogram
from gateway.stages import Stage
from tests.metrics_table import PAGE, page

NAME = re.compile(r"asr_[a-z_]+")
NO_BASE_UNIT = re.compile(r"_(ms|milliseconds|minutes|hours|kb|mb|kilobytes|percent|cents)(_|$)")


def test_names_are_in_base_units_and_said_once() -> None:
    names = [each.name for each in ALL]
    assert len(set(names)) == len(names)
    for each in ALL:
        assert NAME.fullmatch(each.name)
        assert not NO_BASE_UNIT.search(each.name)
        assert not each.name.endswith("_total"), "the client adds that"
        assert each.help.endswith(".")


def test_nothing_is_counted_that_is_not_declared() -> None:
    declared = {each.name for each in ALL}
    assert {each.name for each in Metrics().registry.collect()} <= declared


def test_no_label_takes_what_callers_write() -> None:
    """Every label there is; a new one is thought about first, and its values are named in the help."""
    known = {
        *("front", "model", "status", "stage", "type", "where", "caller", "outcome", "scope", "kind", "name", "period"),
        *("deployment", "from", "to", "reason", "why", "state", "store", "version", "python"),
    }
    assert {label for each in ALL for label in each.labels} == known


def test_buckets_grow() -> None:
    for each in ALL:
        if isinstance(each, DeclaredHistogram):
            assert list(each.buckets) == sorted(set(each.buckets)), each.name


def test_the_steps_that_the_help_names_are_those_there_are() -> None:
    (told,) = [each.help for each in ALL if each.name == "asr_stage_seconds"]
    assert all(re.search(rf"\b{stage}\b", told) for stage in Stage)


def test_the_page_of_metrics_is_what_is_declared() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.metrics_table"
