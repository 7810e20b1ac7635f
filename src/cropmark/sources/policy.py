"""What a web source may fetch: hosts, ports, addresses, sizes and times. Values only; nothing here connects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from yarl import URL

from cropmark.model.problems import SourceForbidden
from cropmark.sources.addresses import local_name
from cropmark.sources.urls import climbs, read_url, refusal

DEFAULT_PORTS = {"http": 80, "https": 443}
MIB = 1024 * 1024

# Ours to say, or the connection's: a configured one would break framing, caching or the byte count.
# fmt: off
_NOT_CONFIGURABLE = frozenset({
    "host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "expect",
    "range", "accept-encoding", "proxy-authorization",
    "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range",
})
# fmt: on


@dataclass(frozen=True, slots=True)
class AllowedHost:
    """A host and port that an operator opened although its address is private; exactly these."""

    host: str
    port: int

    @classmethod
    def read(cls, text: str) -> AllowedHost:
        """`127.0.0.1:8001`, `images.internal:80`, `[::1]:8080`. Raises ValueError with words for an operator."""
        if not text.rpartition(":")[2].isdecimal() or "/" in text:
            raise ValueError(f"expected host:port, got {text!r}; write 127.0.0.1:8001")
        try:
            url = read_url(f"http://{text}/")
        except SourceForbidden as refused:
            raise ValueError(f"expected host:port, got {text!r}; write 127.0.0.1:8001") from refused
        return cls.of(url)

    @classmethod
    def of(cls, url: URL) -> AllowedHost:
        assert url.raw_host is not None and url.port is not None  # read_url() saw to it
        return cls(url.raw_host, url.port)


@dataclass(frozen=True, slots=True)
class HostRule:
    """Servers, and the part of them, that may be fetched from.

    `labels` is the host from left to right: `*` stands for exactly one label, a leading `**` for one or more; dots are
    dots. `scheme` and `port` None: either scheme, the scheme's own port. `path` is whole segments: `/a` admits `/a`
    and `/a/b`, not `/ab`.
    """

    labels: tuple[str, ...]
    scheme: str | None = None
    port: int | None = None
    path: str = "/"

    @classmethod
    def read(cls, text: str) -> HostRule:
        """`cdn.example`, `https://*.example.com/images`, `http://**.example.net:8080`. Raises ValueError."""
        words = f"expected a host with * for a label, and perhaps scheme, port and path, got {text!r}"
        named = "://" in text
        # A star is no host name: letters in its place let the strict reader judge the rest.
        plain = (text if named else f"https://{text}").replace("**", _MANY).replace("*", _ONE)
        try:
            url = read_url(plain)
        except SourceForbidden as refused:
            raise ValueError(words) from refused
        assert url.raw_host is not None
        labels = _address_or_labels(url.raw_host.replace(_MANY, "**").replace(_ONE, "*"))
        starred = _ONE in url.raw_path or _MANY in url.raw_path
        if starred or url.raw_query_string or not all(_whole(x, n) for n, x in enumerate(labels)):
            raise ValueError(words)
        path = url.raw_path.rstrip("/") or "/"
        return cls(labels, url.scheme if named else None, url.explicit_port, path)

    @property
    def any_host(self) -> bool:
        """Whether it names no host at all, like `**`."""
        return all("*" in label for label in self.labels)

    def admits(self, url: URL) -> bool:
        """Whether a URL lies within the rule."""
        assert url.raw_host is not None
        if self.scheme not in (None, url.scheme) or url.port != (self.port or DEFAULT_PORTS[url.scheme]):
            return False
        return _match(self.labels, _address_or_labels(url.raw_host)) and self._holds(url.raw_path)

    def _holds(self, path: str) -> bool:
        if self.path == "/":
            return True
        inside = path == self.path or path.startswith(self.path + "/")
        # An origin may decode once more than we do, and leave the prefix.
        return inside and not climbs(path)


_ONE, _MANY = "xx-one-label-xx", "xx-many-labels-xx"


class Reachability(Enum):
    """How far a connection may reach."""

    PUBLIC = "public"
    ALLOWED_PRIVATE = "opened"
    """To the private address of a place the operator opened."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be fetched, and how long and how large it may be. The defaults fetch nothing.

    `open`: any public host. `hosts`: these only. `allow`: places that may be private; they also may be fetched from
    where neither of the others is given. `forwarded` names headers of a client's request that go to the origin and
    enter the source's identity; `headers` are sent always. Neither crosses to another origin.
    """

    allow: tuple[AllowedHost, ...] = ()
    open: bool = False
    hosts: tuple[HostRule, ...] = ()
    ports: frozenset[int] = frozenset({80, 443})
    max_redirects: int = 3
    connect_s: float = 3.0
    """For the look-up, the connection and TLS together."""
    first_byte_s: float = 5.0
    """From the request to the answer's headers, and between two pieces of the body."""
    total_s: float = 8.0
    """For all of it, redirects and body included."""
    limit_bytes: int = 50 * MIB
    """Of the body after Content-Encoding is undone."""
    forwarded: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    user_agent: str = "cropmark"
    at_once: int = 64
    at_once_per_host: int = 8

    def __post_init__(self) -> None:
        for name in (*self.forwarded, *(name for name, _ in self.headers)):
            if name.lower() in _NOT_CONFIGURABLE:
                raise ValueError(f"the header {name} cannot be configured: the fetcher or the connection sets it")
        if self.open and (self.forwarded or self.headers):
            raise ValueError("headers are sent to listed hosts only: with any host open they would go to anybody")
        if min(self.connect_s, self.first_byte_s, self.total_s, self.limit_bytes, self.at_once) <= 0:
            raise ValueError("deadlines, the byte limit and the number at once are above 0")

    def way(self, url: URL) -> Reachability:
        """How a URL may be connected to. Raises SourceRefused where it may not be."""
        opened = AllowedHost.of(url) in self.allow
        ruled = [rule for rule in self.hosts if rule.admits(url)]
        if not (self.open or ruled or (opened and not self.hosts)):
            raise refusal()
        if opened:
            return Reachability.ALLOWED_PRIVATE
        if local_name(_host(url)) or not (url.port in self.ports or any(rule.port for rule in ruled)):
            raise refusal()
        return Reachability.PUBLIC

    @property
    def scope(self) -> str:
        """A digest of what decides which bytes a URL may give; what was kept under one is not used under another."""
        rules = (self.allow, self.open, self.hosts, sorted(self.ports), self.limit_bytes, self.headers)
        return hashlib.sha256(repr(rules).encode()).hexdigest()[:16]


def forwardable(policy: Policy, headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Of a client's headers those that the policy names, in the policy's order."""
    given = {name.lower(): value for name, value in headers}
    return tuple((name, given[name.lower()]) for name in policy.forwarded if name.lower() in given)


def _host(url: URL) -> str:
    assert url.raw_host is not None
    # An address is no name; local_name() would take "::1" for one without a dot.
    return "address.example" if ":" in url.raw_host else url.raw_host


def _address_or_labels(host: str) -> tuple[str, ...]:
    return (host,) if ":" in host else tuple(host.split("."))


def _whole(label: str, position: int) -> bool:
    return "*" not in label or label == "*" or (label == "**" and position == 0)


def _match(pattern: tuple[str, ...], labels: tuple[str, ...]) -> bool:
    if pattern[0] == "**":
        rest = pattern[1:]
        return len(labels) > len(rest) and _match(("*", *rest), labels[len(labels) - len(rest) - 1 :])
    return len(pattern) == len(labels) and all(p in ("*", label) for p, label in zip(pattern, labels, strict=True))
