"""Classifies IP addresses as public, private or never allowed. Uses fixed tables, not the network.

The tables follow the IANA registries of special-purpose addresses
(https://www.iana.org/assignments/iana-ipv4-special-registry, .../iana-ipv6-special-registry), read 2026-11, and add the
addresses where clouds serve credentials. `ipaddress.is_private` is not used: it lacks some of these ranges, and it
changes with the Python release.
"""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address


class Reach(Enum):
    """A class of IP addresses. It decides whether a connection to the address is allowed."""

    PUBLIC = "public"
    PRIVATE = "private"
    """An address of this machine or its network: rejected unless the operator allows the host and port."""
    NEVER = "never"
    """Cloud metadata, link-local, multicast, reserved or tunnel: rejected unless the operator allows this address."""


# fmt: off
_PRIVATE_4 = tuple(IPv4Network(net) for net in (
    "10.0.0.0/8",        # RFC 1918
    "100.64.0.0/10",     # shared by carriers (CGNAT)
    "127.0.0.0/8",       # loopback
    "172.16.0.0/12",     # RFC 1918
    "192.168.0.0/16",    # RFC 1918
))
_NEVER_4 = tuple(IPv4Network(net) for net in (
    "0.0.0.0/8",          # this network; 0.0.0.0 connects to loopback
    "100.100.100.200/32", # metadata of Alibaba Cloud, inside CGNAT
    "168.63.129.16/32",   # Azure's host agent, on an address that looks public
    "169.254.0.0/16",     # link-local, and the metadata of most clouds
    "192.0.0.0/24",       # protocol assignments; Oracle's metadata
    "192.0.2.0/24",       # documentation
    "192.31.196.0/24",    # AS112
    "192.52.193.0/24",    # AMT relays
    "192.88.99.0/24",     # 6to4 relays, deprecated
    "192.175.48.0/24",    # AS112
    "198.18.0.0/15",      # benchmarks
    "198.51.100.0/24",    # documentation
    "203.0.113.0/24",     # documentation
    "224.0.0.0/4",        # multicast
    "240.0.0.0/4",        # reserved, and broadcast
))
_PRIVATE_6 = tuple(IPv6Network(net) for net in (
    "::1/128",            # loopback
    "fc00::/7",           # unique local
))
_METADATA_6 = frozenset(IPv6Address(text) for text in (
    "fd00:ec2::254",      # Amazon
    "fd00:42::42",        # Scaleway
    "fd20:ce::254",       # Google
    "fd00:c1::a9fe:a9fe", # Oracle
))
_GLOBAL_6 = IPv6Network("2000::/3")   # the global unicast addresses
_NEVER_6 = tuple(IPv6Network(net) for net in (
    "2001::/23",          # protocol assignments: Teredo, benchmarks, ORCHID
    "2001:db8::/32",      # documentation
    "2002::/16",          # 6to4, deprecated; the IPv4 address in it is not considered
    "2620:4f:8000::/48",  # AS112
    "3fff::/20",          # documentation
))
_NAT64 = IPv6Network("64:ff9b::/96")  # DNS64 returns these, so those of public IPv4 addresses must work
_MAPPED = IPv6Network("::ffff:0:0/96")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)  # upper half of the interface identifier (RFC 5214)
# fmt: on

_LOCAL_NAMES = ("localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "corp", "private", "arpa")


def reach(address: Address) -> Reach:
    """The class of an IP address.

    NAT64, IPv4-mapped and ISATAP addresses have the class of the IPv4 address in them. 6to4, Teredo, IPv4-compatible
    addresses and the local NAT64 prefix are NEVER: every public server also has a normal address.
    """
    if isinstance(address, IPv4Address):
        return _reach_4(address)
    ipv4 = embedded_ipv4(address)
    if address in _MAPPED or address in _NAT64:
        assert ipv4 is not None
        return _reach_4(ipv4)
    own = _reach_6(address)
    if ipv4 is None or own is not Reach.PUBLIC:
        return own
    return _reach_4(ipv4)


def embedded_ipv4(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address in the last 32 bits of an IPv4-mapped, NAT64 or ISATAP address; None for other addresses."""
    bits = int(address)
    if address in _MAPPED or address in _NAT64 or (bits >> 32) & 0xFFFF_FFFF in _ISATAP:
        return IPv4Address(bits & 0xFFFF_FFFF)
    return None


def is_local_name(host: str) -> bool:
    """True for the host names of private networks: names without a dot, or with a local suffix such as `.internal`."""
    last = host.rpartition(".")[2]
    return "." not in host or last in _LOCAL_NAMES


def _reach_4(address: IPv4Address) -> Reach:
    if any(address in net for net in _NEVER_4):
        return Reach.NEVER
    return Reach.PRIVATE if any(address in net for net in _PRIVATE_4) else Reach.PUBLIC


def _reach_6(address: IPv6Address) -> Reach:
    if address.scope_id is not None or address in _METADATA_6:
        return Reach.NEVER
    if any(address in net for net in _PRIVATE_6):
        return Reach.PRIVATE
    if address not in _GLOBAL_6 or any(address in net for net in _NEVER_6):
        return Reach.NEVER
    return Reach.PUBLIC
