"""check_11, check_12: the class of each address, in every notation."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.sources.addresses import Reach, embedded_ipv4, is_local_name, reach

# fmt: off
REACHES = [
    # address                                  class          reason
    ("0.0.0.0",                                Reach.NEVER),    # unspecified: connects to loopback
    ("0.1.2.3",                                Reach.NEVER),    # "this network"
    ("1.1.1.1",                                Reach.PUBLIC),
    ("8.8.8.8",                                Reach.PUBLIC),
    ("9.255.255.255",                          Reach.PUBLIC),   # the last before RFC 1918
    ("10.0.0.0",                               Reach.PRIVATE),
    ("10.255.255.255",                         Reach.PRIVATE),
    ("11.0.0.0",                               Reach.PUBLIC),
    ("100.63.255.255",                         Reach.PUBLIC),
    ("100.64.0.0",                             Reach.PRIVATE),  # CGNAT
    ("100.100.100.200",                        Reach.NEVER),    # Alibaba's metadata
    ("100.127.255.255",                        Reach.PRIVATE),
    ("100.128.0.0",                            Reach.PUBLIC),
    ("127.0.0.1",                              Reach.PRIVATE),
    ("127.0.0.53",                             Reach.PRIVATE),
    ("127.255.255.255",                        Reach.PRIVATE),
    ("128.0.0.1",                              Reach.PUBLIC),
    ("168.63.129.16",                          Reach.NEVER),    # Azure's agent
    ("169.253.255.255",                        Reach.PUBLIC),
    ("169.254.0.1",                            Reach.NEVER),    # link-local
    ("169.254.169.254",                        Reach.NEVER),    # metadata
    ("169.254.170.2",                          Reach.NEVER),    # metadata of Amazon's containers
    ("169.255.0.0",                            Reach.PUBLIC),
    ("172.15.255.255",                         Reach.PUBLIC),
    ("172.16.0.1",                             Reach.PRIVATE),
    ("172.31.255.255",                         Reach.PRIVATE),
    ("172.32.0.0",                             Reach.PUBLIC),
    ("192.0.0.1",                              Reach.NEVER),    # protocol assignments
    ("192.0.0.192",                            Reach.NEVER),    # Oracle's metadata
    ("192.0.1.0",                              Reach.PUBLIC),
    ("192.0.2.1",                              Reach.NEVER),    # documentation
    ("192.88.99.1",                            Reach.NEVER),    # 6to4 relay
    ("192.167.255.255",                        Reach.PUBLIC),
    ("192.168.0.1",                            Reach.PRIVATE),
    ("192.168.255.255",                        Reach.PRIVATE),
    ("192.169.0.0",                            Reach.PUBLIC),
    ("198.17.255.255",                         Reach.PUBLIC),
    ("198.18.0.1",                             Reach.NEVER),    # benchmarks
    ("198.19.255.255",                         Reach.NEVER),
    ("198.20.0.0",                             Reach.PUBLIC),
    ("198.51.100.7",                           Reach.NEVER),    # documentation
    ("203.0.113.9",                            Reach.NEVER),    # documentation
    ("223.255.255.255",                        Reach.PUBLIC),
    ("224.0.0.1",                              Reach.NEVER),    # multicast
    ("239.255.255.250",                        Reach.NEVER),    # SSDP
    ("240.0.0.1",                              Reach.NEVER),    # reserved
    ("255.255.255.255",                        Reach.NEVER),    # broadcast
    ("::",                                     Reach.NEVER),
    ("::1",                                    Reach.PRIVATE),
    ("::2",                                    Reach.NEVER),    # IPv4-compatible 0.0.0.2
    ("100::1",                                 Reach.NEVER),    # discard
    ("2001:4860:4860::8888",                   Reach.PUBLIC),
    ("2606:4700:4700::1111",                   Reach.PUBLIC),
    ("2a00:1450:4001:829::200e",               Reach.PUBLIC),
    ("2001:2::1",                              Reach.NEVER),    # benchmarks
    ("2001:10::1",                             Reach.NEVER),    # ORCHID
    ("2001:20::1",                             Reach.NEVER),    # ORCHIDv2
    ("2001:db8::1",                            Reach.NEVER),    # documentation
    ("3fff::1",                                Reach.NEVER),    # documentation
    ("3ffe::1",                                Reach.PUBLIC),   # 6bone, returned to IANA
    ("4000::1",                                Reach.NEVER),    # unassigned
    ("5f00::1",                                Reach.NEVER),    # segment routing
    ("2620:4f:8000::1",                        Reach.NEVER),    # AS112
    ("fc00::1",                                Reach.PRIVATE),  # unique local
    ("fdff:ffff::1",                           Reach.PRIVATE),
    ("fd00:ec2::254",                          Reach.NEVER),    # Amazon's metadata
    ("fd20:ce::254",                           Reach.NEVER),    # Google's
    ("fe00::1",                                Reach.NEVER),
    ("fe80::1",                                Reach.NEVER),    # link-local
    ("fe80::1%eth0",                           Reach.NEVER),
    ("febf::1",                                Reach.NEVER),
    ("fec0::1",                                Reach.NEVER),    # site-local, deprecated
    ("ff02::1",                                Reach.NEVER),    # multicast
    ("ff0e::1",                                Reach.NEVER),
]

CARRIERS = [
    # IPv6                                     class          IPv4 address
    ("::ffff:127.0.0.1",                       Reach.PRIVATE),  # mapped
    ("::ffff:169.254.169.254",                 Reach.NEVER),
    ("::ffff:10.1.2.3",                        Reach.PRIVATE),
    ("::ffff:8.8.8.8",                         Reach.PUBLIC),
    ("::ffff:0:127.0.0.1",                     Reach.NEVER),    # translated (RFC 2765)
    ("::127.0.0.1",                            Reach.NEVER),    # compatible
    ("::8.8.8.8",                              Reach.NEVER),    # compatible, obsolete
    ("2002:7f00:1::1",                         Reach.NEVER),    # 6to4 of 127.0.0.1
    ("2002:a9fe:a9fe::1",                      Reach.NEVER),    # 6to4 of 169.254.169.254
    ("2002:808:808::1",                        Reach.NEVER),    # 6to4 of a public one: deprecated too
    ("64:ff9b::7f00:1",                        Reach.PRIVATE),  # NAT64 of 127.0.0.1
    ("64:ff9b::a9fe:a9fe",                     Reach.NEVER),
    ("64:ff9b::a00:1",                         Reach.PRIVATE),
    ("64:ff9b::808:808",                       Reach.PUBLIC),   # the DNS64 address of 8.8.8.8
    ("64:ff9b:1::7f00:1",                      Reach.NEVER),    # NAT64's local prefix
    ("64:ff9b:1::808:808",                     Reach.NEVER),
    ("2001:0:4136:e378:8000:63bf:80ff:fffe",   Reach.NEVER),    # Teredo of 127.0.0.1
    ("2001::1",                                Reach.NEVER),    # Teredo
    ("2a00:1450::5efe:7f00:1",                 Reach.PRIVATE),  # ISATAP of 127.0.0.1
    ("2a00:1450::200:5efe:a9fe:a9fe",          Reach.NEVER),    # ISATAP, the bit of a global address set
    ("2a00:1450::5efe:808:808",                Reach.PUBLIC),
    ("fe80::5efe:808:808",                     Reach.NEVER),    # its own prefix counts too
]
# fmt: on


@pytest.mark.parametrize(("text", "expected"), REACHES, ids=[f"check_11-{text}" for text, _ in REACHES])
def test_reach(text: str, expected: Reach) -> None:
    assert reach(ip_address(text)) is expected


@pytest.mark.parametrize(("text", "expected"), CARRIERS, ids=[f"check_12-{text}" for text, _ in CARRIERS])
def test_reach_of_embedded_addresses(text: str, expected: Reach) -> None:
    assert reach(ip_address(text)) is expected


def test_the_table_is_long_enough() -> None:
    """check_11 requires at least 60 addresses."""
    assert len({text for text, _ in REACHES}) >= 60


@given(st.ip_addresses(v=4))
def test_public_addresses_are_global_for_python_too(address: IPv4Address) -> None:
    """The table is never less strict than the standard library."""
    assert reach(address) is not Reach.PUBLIC or address.is_global


@given(st.ip_addresses(v=6))
def test_public_ipv6_is_global_unicast(address: IPv6Address) -> None:
    if reach(address) is Reach.PUBLIC and embedded_ipv4(address) is None:
        assert address.is_global
        assert 0x2000 <= int(address) >> 112 <= 0x3FFF


@given(st.ip_addresses(v=4))
def test_an_embedded_address_has_its_own_class(address: IPv4Address) -> None:
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        carrier = IPv6Address(int(IPv6Address(prefix)) | int(address))
        assert embedded_ipv4(carrier) == address
        assert reach(carrier) is reach(address)


# fmt: off
NAMES = [
    ("localhost",                  True),
    ("foo.localhost",              True),
    ("redis",                      True),    # in a search domain, or a container
    ("metadata",                   True),
    ("instance-data",              True),
    ("metadata.google.internal",   True),
    ("db.corp",                    True),
    ("printer.local",              True),
    ("router.home.arpa",           True),
    ("localhost.localdomain",      True),
    ("www.example.com",            False),
    ("internal.example.com",       False),   # a label, not the suffix
    ("localhost.example",          False),
]
# fmt: on


@pytest.mark.parametrize(("host", "expected"), NAMES)
def test_local_names(host: str, expected: bool) -> None:
    """check_11: names that only a private network resolves, including those of metadata services."""
    assert is_local_name(host) is expected
