"""Which addresses a caller may have fetched: by its text, by the host's name, and by what the name resolves to.

Sources: RFC 3986; IANA's special-purpose address registries for IPv4 and IPv6 (RFC 6890 and its updates), read
2026-08; RFC 6052 (NAT64).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ADDRESS_CHARACTERS: Final = 8192
"""What common servers take as a request's first line; signed addresses have about a thousand."""
_MAX_HOST_CHARACTERS: Final = 253
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# Narrower than the RFC. What ends in a number is an address to some parser (127.1, 2130706433, 0x7f.1); a backslash, an
# @ or a # ends the host for one parser and not for another. None of them is needed to name a file on a listed host.
_HTTPS = re.compile(
    rf"https://(?P<host>(?:{_LABEL}\.)*(?=[a-z]){_LABEL})(?::(?P<port>[1-9][0-9]{{0,4}}))?(?:[/?][!-~]*)?",
    re.IGNORECASE,
)
_NEVER = frozenset('#\\"<>^`{|}')  # a fragment, and what RFC 3986 wants percent-encoded


class Refused(Exception):
    """Why not, for the operator's log. Callers are told the same whatever it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an address leads."""

    host: str  # in lower case
    port: int


def read_address(text: str) -> Place:
    """Return where an https address leads. Raises Refused for any other, and for one that parsers could disagree on."""
    if len(text) > MAX_ADDRESS_CHARACTERS:
        raise Refused(f"longer than {MAX_ADDRESS_CHARACTERS} characters")
    match = _HTTPS.fullmatch(text)
    if match is None or not _NEVER.isdisjoint(text):
        raise Refused("not a plain https address of a named host, percent-encoded")
    host, port = match["host"].lower(), int(match["port"] or 443)
    if len(host) > _MAX_HOST_CHARACTERS or port > 65_535:
        raise Refused("no such host or port can be")
    return Place(host=host, port=port)


def check_listed(place: Place, listed: Iterable[str]) -> None:
    """Raise Refused unless the place is listed: name, *.name (anything below it), each for port 443 or with :port."""
    if not any(_matches(place, pattern) for pattern in listed):
        raise Refused(f"{place.host}:{place.port} is not listed in fetch.hosts")


def _matches(place: Place, pattern: str) -> bool:
    name, _, port = pattern.partition(":")
    if place.port != int(port or 443):
        return False
    return place.host.endswith(name[1:]) if name.startswith("*.") else place.host == name


_NOT_PUBLIC_4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared: behind a carrier's NAT, and some clouds' metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's own services, inside every virtual network; public by its form only
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments, and Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4, deprecated
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_UNICAST_6: Final = IPv6Network("2000::/3")  # all that is assigned to networks; the rest is local, mapped or reserved
_NOT_PUBLIC_6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, which embeds an IPv4 address, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which embeds an IPv4 address; deprecated
        "3fff::/20",  # documentation
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address behind it


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether an address is some host's on the public Internet: unicast, global, in no special registry.

    An IPv4 address inside an IPv6 one is refused with it, whatever it is, except behind NAT64, which is how networks
    without IPv4 reach the rest: there the address inside decides.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _UNICAST_6 and not any(address in network for network in _NOT_PUBLIC_6)


def read_ip(text: str) -> IPv4Address | IPv6Address:
    """Return a socket's address. Raises ValueError; one with a zone is link-local whatever it says, and is refused."""
    address = ipaddress.ip_address(text)
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise ValueError("an address with a zone is on this link only")
    return address
