"""What a reply's headers say is left of a provider's rate limits.

Source: draft-ietf-httpapi-ratelimit-headers-06 (a header for each) and -10 (`RateLimit: "default";r=50;t=30`); the
`x-ratelimit-remaining-*` of OpenAI, Groq, Together and their like.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_REMAINING: Final = re.compile(r"(?P<family>(?:x-)?ratelimit-)remaining(?:-(?P<of>[a-z-]+))?")
_POLICY: Final = re.compile(r'"(?P<of>[^"]{1,64})"[^,]{0,64}?;\s*r=(?P<left>\d{1,15})')
_NUMBER: Final = re.compile(r"\d{1,15}(?:\.\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Allowance:
    """One of them. What is counted is named by the provider: requests, tokens, audio-seconds."""

    of: str
    left: str  # a number, as it was written
    limit: str | None

    def __str__(self) -> str:
        return f"{self.left} of {self.limit} {self.of}" if self.limit else f"{self.left} {self.of}"


def allowances(headers: Mapping[str, str]) -> list[Allowance]:
    """Return what is told, by name. What cannot be read is left out. headers: names in any case."""
    lowered = {name.lower(): text.strip() for name, text in headers.items()}
    return sorted((*_each(lowered), *_policies(lowered)), key=lambda each: each.of)


def _each(headers: Mapping[str, str]) -> Iterator[Allowance]:
    for name, left in headers.items():
        match = _REMAINING.fullmatch(name)
        if match and _NUMBER.fullmatch(left):
            limit = headers.get(name.replace("remaining", "limit"), "")
            yield Allowance(match["of"] or "requests", left, limit if _NUMBER.fullmatch(limit) else None)


def _policies(headers: Mapping[str, str]) -> Iterator[Allowance]:
    for match in _POLICY.finditer(headers.get("ratelimit", "")):
        yield Allowance(match["of"], match["left"], None)
