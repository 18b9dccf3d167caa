"""Where in which trace something happens. Source: W3C Trace Context, Recommendation of 23 November 2021."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_KEY: Final = r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_MEMBER: Final = re.compile(rf"{_KEY}=[ -+\--<>-~]{{0,255}}[!-+\--<>-~]")
_MOST_MEMBERS: Final = 32
_LONGEST_STATE: Final = 512  # characters; 3.3.1.5: as many should be passed on
_SAMPLED: Final = 1
_HALF: Final = (1 << 64) - 1  # a trace id's random half


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One span, as others are told of it."""

    trace_id: int  # 128 bits, not 0
    span_id: int  # 64 bits, not 0
    sampled: bool
    state: str = ""  # what tracing systems on the way have written down, as it came

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.sampled:02x}"


def read(parents: Sequence[str], states: Sequence[str] = ()) -> Context | None:
    """Return what a caller says of its trace; None where it says nothing, or not readably.

    parents, states: the values of every `traceparent` and `tracestate` header.
    """
    match = _PARENT.fullmatch(parents[0].strip()) if len(parents) == 1 else None
    if match is None:
        return None
    version, trace, span, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or not int(trace, 16) or not int(span, 16):
        return None
    return Context(
        trace_id=int(trace, 16),
        span_id=int(span, 16),
        sampled=bool(int(flags, 16) & _SAMPLED),
        state=_state(",".join(states)),
    )


def _state(given: str) -> str:
    """Return the state where it is one; it is passed on whole or not at all."""
    members = [each.strip(" \t") for each in given.split(",") if each.strip(" \t")]
    names = {each.partition("=")[0] for each in members}
    is_one = len(members) <= _MOST_MEMBERS and len(names) == len(members)
    kept = ",".join(members)
    return kept if is_one and len(kept) <= _LONGEST_STATE and all(map(_MEMBER.fullmatch, members)) else ""


def is_drawn(trace_id: int, share: float) -> bool:
    """Tell whether a trace is among a share of all, in the same way in every process."""
    return trace_id & _HALF < round(share * (_HALF + 1))
