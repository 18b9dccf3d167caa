"""Nothing but a listed name that resolves to a public address, however it is written."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from gateway.policies.addresses import (
    MAX_ADDRESS_CHARACTERS,
    Place,
    Refused,
    check_listed,
    is_public,
    read_address,
    read_ip,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("https://media.example.org/a.wav", "media.example.org", 443),
        ("HTTPS://Media.Example.ORG/A.wav", "media.example.org", 443),
        ("https://media.example.org:8443/a.wav?X-Signature=a%2Fb%3D&x=1@2", "media.example.org", 8443),
        ("https://media.example.org", "media.example.org", 443),
        ("https://media.example.org?a=1", "media.example.org", 443),
        ("https://localhost/", "localhost", 443),  # a name like any other: what it resolves to is looked at later
        ("https://127.0.0.1.nip.io/", "127.0.0.1.nip.io", 443),
        ("https://media.example.org/" + "a" * (MAX_ADDRESS_CHARACTERS - 26), "media.example.org", 443),
    ],
)
def test_a_plain_address_leads_somewhere(text: str, host: str, port: int) -> None:
    assert read_address(text) == Place(host=host, port=port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https:",
        "https://",
        "https:///a.wav",
        "//media.example.org/a.wav",
        "/a.wav",
        "http://media.example.org/a.wav",
        "ftp://media.example.org/a.wav",
        "file:///etc/passwd",
        "gopher://media.example.org/",
        "javascript:https://media.example.org/",
        "https:media.example.org/a.wav",
        "https:/media.example.org/a.wav",
        "https://user@media.example.org/a.wav",
        "https://user:secret@media.example.org/a.wav",
        "https://media.example.org@127.0.0.1/a.wav",
        "https://media.example.org\\@127.0.0.1/a.wav",
        "https://media.example.org%40127.0.0.1/a.wav",
        "https://media.example.org\\.evil.example/a.wav",
        "https://media.example.org/a.wav#",
        "https://media.example.org#@127.0.0.1/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://017700000001/",
        "https://a.0x7f/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://1.2.3.4.5/",
        "https://①②⑦.⓪.⓪.①/",
        "https://media。example.org/",
        "https://mediа.example.org/",  # noqa: RUF001 - Cyrillic, which is the point
        "https://media.example.org./",
        "https://media..example.org/",
        "https://.example.org/",
        "https://-media.example.org/",
        "https://media_1.example.org/",
        "https://media.example.org:/",
        "https://media.example.org:0/",
        "https://media.example.org:0443/",
        "https://media.example.org:65536/",
        "https://media.example.org:+443/",
        "https://media.example.org:４４３/",  # noqa: RUF001 - digits to some parsers
        "https://media.example.org:443:443/",
        "https://media.example.org/a b.wav",
        "https://media.example.org/a\tb.wav",
        "https://media.example.org/\r\nX-Injected: 1",
        "https://media.example.org/\x00",
        "https://media.example.org/é.wav",
        " https://media.example.org/",
        "https://media.example.org/\n",
        "https://" + "a" * 64 + ".example.org/",
        "https://" + "a." * 127 + "example/",
        "https://media.example.org/" + "a" * (MAX_ADDRESS_CHARACTERS - 25),
    ],
)
def test_any_other_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        read_address(text)


@given(
    st.text(max_size=60)
    | st.from_regex(r"https://[a-z0-9.:@\[\]%#?/\\-]{0,40}", fullmatch=True)
    | st.from_regex(r"https://[a-z0-9]{1,9}(\.[a-z0-9]{1,9}){0,3}(:[0-9]{1,5})?([/?][!-~]{0,20})?", fullmatch=True)
)
def test_the_parser_that_connects_sees_the_same_place(text: str) -> None:
    """What is checked is where the request goes."""
    try:
        place = read_address(text)
    except Refused:
        return
    url = URL(text, encoded=True)
    assert (url.scheme, url.host, url.port) == ("https", place.host, place.port)
    assert (url.raw_user, url.raw_password, url.raw_fragment) == (None, None, "")
    assert url.host is not None
    with pytest.raises(ValueError, match="does not appear to be"):
        ip_address(url.host)


NAT64 = ip_network("64:ff9b::/96")
LISTED = ("media.example.org", "*.audio.example", "alt.example.org:8443", "*.alt.example:8443")


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("media.example.org", 443),
        ("a.audio.example", 443),
        ("b.a.audio.example", 443),
        ("alt.example.org", 8443),
        ("a.alt.example", 8443),
    ],
)
def test_a_listed_host(host: str, port: int) -> None:
    check_listed(Place(host=host, port=port), LISTED)


@pytest.mark.parametrize(
    ("host", "port", "listed"),
    [
        ("media.example.org", 443, ()),
        ("media.example.org", 8443, LISTED),
        ("alt.example.org", 443, LISTED),
        ("a.alt.example", 443, LISTED),
        ("a.media.example.org", 443, LISTED),
        ("example.org", 443, LISTED),
        ("audio.example", 443, LISTED),
        ("evilaudio.example", 443, LISTED),
        ("media.example.org.evil.example", 443, LISTED),
        ("mediaxexample.org", 443, LISTED),
    ],
)
def test_a_host_that_is_not(host: str, port: int, listed: Sequence[str]) -> None:
    with pytest.raises(Refused, match="not listed"):
        check_listed(Place(host=host, port=port), listed)


PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
    "64:ff9b::8.8.8.8",  # NAT64 of a public address
]
NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",  # Alibaba's metadata
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",  # IPv4-compatible, deprecated
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",  # IPv4-translated
    "64:ff9b::127.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::8.8.8.8",  # a network's own NAT64
    "100::1",  # discarded
    "2001::1",  # Teredo
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",  # 6to4 of 127.0.0.1
    "2002:a00:1::",
    "2002:808:808::",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",  # Amazon's metadata
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address(text: str) -> None:
    assert is_public(read_ip(text))


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_an_address_that_is_not(text: str) -> None:
    assert not is_public(read_ip(text))


@given(st.ip_addresses(v=4))
def test_nothing_is_let_through_that_python_knows_to_be_special(address: IPv4Address) -> None:
    """Its tables are another reading of the same registries."""
    if is_public(address):
        assert not any(
            (
                address.is_private,
                address.is_loopback,
                address.is_link_local,
                address.is_multicast,
                address.is_reserved,
                address.is_unspecified,
            )
        )
        assert address.is_global


@given(st.ip_addresses(v=6) | st.ip_addresses(v=6, network="2000::/3"))
def test_nor_among_the_longer_ones(address: IPv6Address) -> None:
    if is_public(address) and address not in NAT64:
        assert address.is_global
        assert not any(
            (address.is_private, address.is_multicast, address.is_reserved, address.sixtofour, address.teredo)
        )


@given(st.ip_addresses(v=4))
def test_behind_nat64_the_address_inside_decides(address: IPv4Address) -> None:
    assert is_public(IPv6Address(int(IPv6Address("64:ff9b::")) | int(address))) == is_public(address)


@pytest.mark.parametrize("text", ["fe80::1%eth0", "2606:4700:4700::1111%1", "localhost", "127.1", "1", ""])
def test_what_a_socket_would_not_be_given(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        read_ip(text)
