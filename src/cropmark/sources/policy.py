"""The policy of a web source: allowed hosts, ports and addresses, sizes and timeouts. Values only, no I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from yarl import URL

from cropmark.model.problems import SourceForbidden
from cropmark.sources.addresses import is_local_name
from cropmark.sources.urls import forbidden_address, has_dot_segments, read_url

DEFAULT_PORTS = {"http": 80, "https": 443}
MIB = 1024 * 1024

# Set by the fetcher or the connection; configured values would break framing, caching or the byte limit.
# fmt: off
_NOT_CONFIGURABLE = frozenset({
    "host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "expect",
    "range", "accept-encoding", "proxy-authorization",
    "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range",
})
# fmt: on


@dataclass(frozen=True, slots=True)
class AllowedHost:
    """A host and port that the operator allows, even if the host's address is private."""

    host: str
    port: int

    @classmethod
    def read(cls, text: str) -> AllowedHost:
        """Parse `127.0.0.1:8001`, `images.internal:80` or `[::1]:8080`.

        Raises ValueError with a text for the operator.
        """
        if not text.rpartition(":")[2].isdecimal() or "/" in text:
            raise ValueError(f"expected host:port, got {text!r}; write 127.0.0.1:8001")
        try:
            url = read_url(f"http://{text}/")
        except SourceForbidden as refused:
            raise ValueError(f"expected host:port, got {text!r}; write 127.0.0.1:8001") from refused
        return cls.of(url)

    @classmethod
    def of(cls, url: URL) -> AllowedHost:
        assert url.raw_host is not None and url.port is not None  # read_url() checks it
        return cls(url.raw_host, url.port)


@dataclass(frozen=True, slots=True)
class HostRule:
    """A pattern of URLs that may be fetched: a host, and optionally a scheme, a port and a path.

    `labels` are the parts of the host name, from left to right: `*` matches exactly one label, a leading `**` one or
    more. Without a scheme, http and https match. Without a port, the scheme's default port matches. `path` matches
    whole segments: `/a` matches `/a` and `/a/b`, not `/ab`.
    """

    labels: tuple[str, ...]
    scheme: str | None = None
    port: int | None = None
    path: str = "/"

    @classmethod
    def read(cls, text: str) -> HostRule:
        """Parse `cdn.example`, `https://*.example.com/images` or `http://**.example.net:8080`. Raises ValueError."""
        error_text = f"expected a host with * for a label, and optionally scheme, port and path, got {text!r}"
        has_scheme = "://" in text
        # A star is not valid in a host name: letters in its place let the strict parser check the rest.
        plain = (text if has_scheme else f"https://{text}").replace("**", _MANY).replace("*", _ONE)
        try:
            url = read_url(plain)
        except SourceForbidden as refused:
            raise ValueError(error_text) from refused
        assert url.raw_host is not None
        labels = _address_or_labels(url.raw_host.replace(_MANY, "**").replace(_ONE, "*"))
        starred = _ONE in url.raw_path or _MANY in url.raw_path
        if starred or url.raw_query_string or not all(_is_valid_label(x, n) for n, x in enumerate(labels)):
            raise ValueError(error_text)
        path = url.raw_path.rstrip("/") or "/"
        return cls(labels, url.scheme if has_scheme else None, url.explicit_port, path)

    @property
    def any_host(self) -> bool:
        """True if the pattern of the host has only wildcards, such as `**`."""
        return all("*" in label for label in self.labels)

    def matches(self, url: URL) -> bool:
        """True if the rule allows this URL."""
        assert url.raw_host is not None
        if self.scheme not in (None, url.scheme) or url.port != (self.port or DEFAULT_PORTS[url.scheme]):
            return False
        return _match(self.labels, _address_or_labels(url.raw_host)) and self._covers_path(url.raw_path)

    def _covers_path(self, path: str) -> bool:
        if self.path == "/":
            return True
        is_below = path == self.path or path.startswith(self.path + "/")
        # The origin may decode the path once more, and `..` would then leave the prefix.
        return is_below and not has_dot_segments(path)


_ONE, _MANY = "xx-one-label-xx", "xx-many-labels-xx"


class Reachability(Enum):
    """The addresses that a connection may reach."""

    PUBLIC = "public"
    ALLOWED_PRIVATE = "allowed-private"
    """Public and private addresses, for a host that the operator allowed."""


class ReservedHeader(ValueError):
    """Raised for a configured header that only the fetcher or the connection may set."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the header {name} cannot be configured: the fetcher or the connection sets it")


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules for fetches from the web: allowed hosts, and limits of time and size. The defaults allow nothing.

    `open` allows any public host, `hosts` the hosts that match a rule. The hosts in `allow` may have private addresses.
    If `hosts` is empty, the hosts in `allow` need no rule.

    `forwarded` names headers of a client's request that are sent to the origin and become part of the source's
    identity. `headers` are always sent. After a redirect to another origin, neither `forwarded` nor `headers` are sent.
    """

    allow: tuple[AllowedHost, ...] = ()
    open: bool = False
    hosts: tuple[HostRule, ...] = ()
    ports: frozenset[int] = frozenset({80, 443})
    max_redirects: int = 3
    connect_s: float = 3.0
    """Timeout of the look-up, the connection and TLS together."""
    first_byte_s: float = 5.0
    """Timeout from the request to the response headers, and between two pieces of the body."""
    total_s: float = 8.0
    """Timeout of the whole fetch, including redirects and the body."""
    limit_bytes: int = 50 * MIB
    """Limit of the decoded body."""
    forwarded: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    user_agent: str = "cropmark"
    images_only: bool = True
    """True: only images are accepted. False: files of other known types are also accepted, such as PDFs and videos."""
    chosen_by_client: bool = True
    """True: a forbidden redirect or address is reported as the client's error.

    False: it is reported as a failure of the origin, because the operator chose the origin.
    """
    max_fetches: int = 64
    max_fetches_per_host: int = 8

    def __post_init__(self) -> None:
        for name in (*self.forwarded, *(name for name, _ in self.headers)):
            if name.lower() in _NOT_CONFIGURABLE:
                raise ReservedHeader(name)
        if self.open and (self.forwarded or self.headers):
            raise ValueError(
                "headers are sent to listed hosts only: if any host is open, any server could receive them"
            )
        if min(self.connect_s, self.first_byte_s, self.total_s, self.limit_bytes, self.max_fetches) <= 0:
            raise ValueError("timeouts, the byte limit and the number of fetches must be above 0")

    def reachability(self, url: URL) -> Reachability:
        """The addresses that a connection to this URL may reach. Raises SourceForbidden if the URL is not allowed."""
        is_allowed = AllowedHost.of(url) in self.allow
        rules = [rule for rule in self.hosts if rule.matches(url)]
        if not (self.open or rules or (is_allowed and not self.hosts)):
            raise forbidden_address()
        if is_allowed:
            return Reachability.ALLOWED_PRIVATE
        if is_local_name(_host(url)) or not (url.port in self.ports or any(rule.port for rule in rules)):
            raise forbidden_address()
        return Reachability.PUBLIC

    @property
    def scope(self) -> str:
        """A digest of all settings that decide which bytes a URL gives.

        An original that was stored under one scope is not used under another scope.
        """
        rules = (self.allow, self.open, self.hosts, sorted(self.ports), self.limit_bytes, self.headers)
        return hashlib.sha256(repr(rules).encode()).hexdigest()[:16]


def forwardable(policy: Policy, headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The headers of a client's request that the policy forwards, in the policy's order."""
    given = {name.lower(): value for name, value in headers}
    return tuple((name, given[name.lower()]) for name in policy.forwarded if name.lower() in given)


def _host(url: URL) -> str:
    assert url.raw_host is not None
    # is_local_name() would read the address "::1" as a name without a dot.
    return "address.example" if ":" in url.raw_host else url.raw_host


def _address_or_labels(host: str) -> tuple[str, ...]:
    return (host,) if ":" in host else tuple(host.split("."))


def _is_valid_label(label: str, position: int) -> bool:
    return "*" not in label or label == "*" or (label == "**" and position == 0)


def _match(pattern: tuple[str, ...], labels: tuple[str, ...]) -> bool:
    if pattern[0] == "**":
        rest = pattern[1:]
        return len(labels) > len(rest) and _match(("*", *rest), labels[len(labels) - len(rest) - 1 :])
    return len(pattern) == len(labels) and all(p in ("*", label) for p, label in zip(pattern, labels, strict=True))
