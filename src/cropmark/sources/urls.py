"""The URLs that may name a picture on the web, read once and strictly. What was read is what is connected to."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import unquote

from yarl import URL

from cropmark.model.problems import SourceForbidden

LONGEST = 8192
"""Characters of a URL that are read."""

_SHAPE = re.compile(r"https?://(?:\[[0-9a-f:.]+\](?::[0-9]*)?|[^/?#@\\%\s\[\]]+)(?:[/?#].*)?", re.IGNORECASE)
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_][a-z0-9_-]{0,62})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def refusal() -> SourceForbidden:
    """The one Problem for every address that may not be fetched.

    One text for all: told apart, refusals would let a caller map our network (PixLab 6.5).
    """
    return SourceForbidden(
        "the address of the picture may not be fetched",
        fix="name a picture by http or https on a public server, or have the operator allow the address",
    )


def read_url(text: str) -> URL:
    """A URL to fetch, in its normal form: host in lower case and IDNA, dots resolved, no fragment.

    Raises SourceRefused for another scheme, a user or password (also an empty one), control characters, backslashes,
    percent signs in the host, and hosts that are neither a name nor an address in its usual spelling. Spaces in the
    path are encoded: callers send them.
    """
    if len(text) > LONGEST or "\\" in text or not text.isprintable() or not _SHAPE.fullmatch(text):
        raise refusal()
    try:
        url = URL(text).with_fragment(None)
        plain = url.raw_host is not None and url.port is not None and url.port > 0 and _plain_host(url.raw_host)
    except (ValueError, UnicodeError) as error:
        raise refusal() from error
    if not plain or url.raw_user is not None or url.raw_password is not None:
        raise refusal()
    return url


def joined(base: URL, location: str) -> URL:
    """Where a redirect leads, read as strictly as the first URL. Raises SourceRefused."""
    # Browsers take "\" for "/", and an origin that answers "/\host" counts on it.
    if not location.isprintable() or "\\" in location:
        raise refusal()
    try:
        return read_url(str(base.join(URL(location))))
    except (ValueError, UnicodeError) as error:
        raise refusal() from error


def climbs(path: str) -> bool:
    """Whether a path, decoded as often as anybody may decode it, holds a backslash or a `..` segment.

    `..;x` counts: servlet containers cut what follows the semicolon before they resolve dots.
    """
    while (decoded := unquote(path)) != path:
        path = decoded
    return "\\" in path or any(segment.partition(";")[0] == ".." for segment in path.split("/"))


def shown(url: URL) -> str:
    """What a log may hold of a URL: scheme, host and port. Paths and queries carry credentials (PixLab 6.9)."""
    return str(url.origin())


def origin(url: URL) -> tuple[str, str | None, int | None]:
    """What credentials are bound to: scheme, host, port."""
    return url.scheme, url.raw_host, url.port


def _plain_host(host: str) -> bool:
    """Whether it is a name, or an address in the one spelling that everybody reads alike.

    What ends in a number is an address to some readers: 127.1, 0x7f.1, 2130706433, 0177.0.0.1
    (https://url.spec.whatwg.org/#ends-in-a-number-checker).
    """
    try:
        if ":" in host:
            return IPv6Address(host).scope_id is None
        if _NUMBER.fullmatch(host.rpartition(".")[2]):
            return str(IPv4Address(host)) == host
    except AddressValueError:
        return False
    return _HOST.fullmatch(host) is not None
