"""What a caller wants of the cache: the request directives of HTTP. Source: RFC 9111, section 5.2.1."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_DIRECTIVE: Final = re.compile(r"""\s*([!#$%&'*+.^_`|~0-9a-z-]+)\s*(?:=\s*(?:"([^"]*)"|([^\s,"]*)))?[^,]*(?:,|$)""")
_LONGEST_S: Final = 2**31  # what RFC 9111, section 1.2.2 lets stand for all that is more


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheControl:
    """The directives that mean something here; no-transform and the like do not."""

    no_cache: bool = False  # ask anew, and keep the answer
    no_store: bool = False  # keep nothing, nor look
    only_if_cached: bool = False  # look, and ask nobody
    max_age_s: float | None = None  # older answers will not do; None: any

    def fresh_s(self, ttl_s: float) -> float:
        """Return the age in seconds up to which a kept answer will do."""
        return ttl_s if self.max_age_s is None else min(ttl_s, self.max_age_s)

    @property
    def accepts_stale(self) -> bool:
        """Tell whether an answer past its time is better than none: not where the caller said how old it may be."""
        return not self.no_cache and self.max_age_s is None


ANY: Final = CacheControl()


def parse(header: str) -> CacheControl:
    """Read a Cache-Control header, several joined with commas. What is not understood is passed over, as HTTP wants.

    A max-age that is no number counts as 0: whoever sent it did not want just anything.
    """
    given: dict[str, list[str]] = {}
    for name, quoted, bare in _DIRECTIVE.findall(header.lower()):
        given.setdefault(name, []).append(quoted or bare)
    return CacheControl(
        no_cache="no-cache" in given,
        no_store="no-store" in given,
        only_if_cached="only-if-cached" in given,
        max_age_s=min(map(_seconds, given["max-age"])) if "max-age" in given else None,
    )


def _seconds(value: str) -> float:
    return float(min(int(value[:11]), _LONGEST_S)) if value.isascii() and value.isdecimal() else 0.0
