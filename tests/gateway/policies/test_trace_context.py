"""What a caller says of its trace is taken up where it is readable, as OpenTelemetry's own reader does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.policies.trace_context import Context, is_drawn, read

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
NEARLY = st.from_regex(
    r"(00|ff|[0-9a-f]{2})-(0{32}|[0-9a-fA-F]{32})-(0{16}|[0-9a-f]{15,17})-[0-9a-f]{2}(-[0-9a-z]*)?", fullmatch=True
)


def test_a_traceparent_is_read_and_written_alike() -> None:
    found = read([PARENT])
    assert found == Context(trace_id=int(TRACE, 16), span_id=int(SPAN, 16), sampled=True)
    assert found is not None
    assert found.traceparent == PARENT


@pytest.mark.parametrize(
    ("flags", "is_sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)]
)
def test_of_the_flags_one_bit_counts(flags: str, is_sampled: bool) -> None:  # noqa: FBT001 - a parameter
    found = read([f"00-{TRACE}-{SPAN}-{flags}"])
    assert found is not None
    assert found.sampled is is_sampled


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert read([f"cc-{TRACE}-{SPAN}-01-what-the-future-has"]) == read([PARENT])


@pytest.mark.parametrize(
    "given",
    [
        "",
        "00",
        PARENT.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"{PARENT}-more",
        f"{PARENT}0",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-hf_gw_secret0000-01",
        PARENT + "\n00",
    ],
)
def test_what_is_none_is_as_good_as_nothing(given: str) -> None:
    assert read([given]) is None


def test_of_two_parents_neither_counts() -> None:
    assert read([PARENT, PARENT]) is None
    assert read([]) is None


@pytest.mark.parametrize(
    ("states", "kept"),
    [
        ((), ""),
        (("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",), "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        (("a=1", " b@c=2 ,"), "a=1,b@c=2"),
        (("a=1,a=2",), ""),
        (("A=1",), ""),
        (("a=",), ""),
        (("a=\u00e4",), ""),
        (("a=1\r\nx: y",), ""),
        (("a=b=c",), ""),
        ((",".join(f"k{number}=1" for number in range(33)),), ""),
        ((",".join(f"k{number}={'v' * 100}" for number in range(6)),), ""),
    ],
)
def test_a_tracestate_is_passed_on_whole_or_not_at_all(states: tuple[str, ...], kept: str) -> None:
    found = read([PARENT], states)
    assert found is not None
    assert found.state == kept


@given(NEARLY)
def test_it_reads_what_opentelemetry_reads(header: str) -> None:
    theirs = get_current_span(TraceContextTextMapPropagator().extract({"traceparent": header})).get_span_context()
    ours = read([header])
    assert (ours is not None) == theirs.is_valid
    if ours is not None:
        assert (ours.trace_id, ours.span_id, ours.sampled) == (
            theirs.trace_id,
            theirs.span_id,
            theirs.trace_flags.sampled,
        )


@given(st.integers(1, (1 << 128) - 1), st.integers(1, (1 << 64) - 1), st.booleans())
def test_opentelemetry_reads_what_it_writes(trace_id: int, span_id: int, sampled: bool) -> None:  # noqa: FBT001 - drawn
    ours = Context(trace_id=trace_id, span_id=span_id, sampled=sampled)
    carrier = {"traceparent": ours.traceparent}
    theirs = get_current_span(TraceContextTextMapPropagator().extract(carrier)).get_span_context()
    assert (theirs.trace_id, theirs.span_id, theirs.trace_flags.sampled) == (trace_id, span_id, sampled)


@given(st.integers(1, (1 << 128) - 1))
def test_a_draw_is_for_all_or_none_at_the_ends_and_grows_between(trace_id: int) -> None:
    assert is_drawn(trace_id, 1.0)
    assert not is_drawn(trace_id, 0.0)
    assert is_drawn(trace_id, 0.5) <= is_drawn(trace_id, 0.6)


def test_a_share_of_many_is_about_that_share() -> None:
    spread = [is_drawn(number * 0x9E3779B97F4A7C15, 0.1) for number in range(1, 10_000)]
    assert 900 < sum(spread) < 1100
