"""Audio by address: which hosts this gateway may fetch from on a caller's word."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from config.section import Section
from config.units import Seconds

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# The last label begins with a letter: what ends in a number is an address to some parser. A pattern spans two at least.
_HOST: Final = re.compile(rf"(?:\*\.(?={_LABEL}\.))?(?:{_LABEL}\.)*(?=[a-z]){_LABEL}(?::[1-9]\d{{0,4}})?")
_LONGEST: Final = 262  # a name's 253 characters, *., a colon and a port


def _fetch_host(given: str) -> str:
    host = given.lower()
    if len(host) > _LONGEST or not _HOST.fullmatch(host) or int(host.partition(":")[2] or 443) > 65_535:
        raise ValueError("a host is a name such as media.example.org or *.example.org, perhaps with a port; no address")
    return host


FetchHost = Annotated[str, AfterValidator(_fetch_host)]


class Fetch(Section):
    """Off while no host is listed: a caller who names an address instead of sending audio is told so."""

    # Names, for https on port 443 or the one written: media.example.org, *.example.org (any name below it), host:8443.
    hosts: Annotated[tuple[FetchHost, ...], Field(max_length=256)] = ()
    timeout: Seconds = 60.0  # from the first connection to the last byte, redirects included
    max_redirects: int = Field(3, ge=0, le=10)  # each to a listed host again
