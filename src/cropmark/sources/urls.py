"""Parses the URLs of images on the web strictly. Connections use the parsed URL, so a check cannot be bypassed."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import unquote

from yarl import URL

from cropmark.model.problems import SourceForbidden

MAX_URL_CHARACTERS = 8192
"""Longest accepted URL."""

_SHAPE = re.compile(r"https?://(?:\[[0-9a-f:.]+\](?::[0-9]*)?|[^/?#@\\%\s\[\]]+)(?:[/?#].*)?", re.IGNORECASE)
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_][a-z0-9_-]{0,62})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def forbidden_address() -> SourceForbidden:
    """The Problem for every URL that may not be fetched.

    Its text is the same for all reasons: different texts would let a client explore the server's network.
    """
    return SourceForbidden(
        "the URL of the image may not be fetched",
        fix="use an http or https URL on a public server, or ask the operator to allow this host",
    )


def read_url(text: str) -> URL:
    """Parse and normalize a URL: the host in lower case and IDNA, dot segments resolved, no fragment.

    Raises SourceForbidden for another scheme, a user or password (even an empty one), control characters, backslashes,
    percent signs in the host, and hosts that are neither a name nor an address in its usual notation. Spaces in the
    path are encoded, since clients send them.
    """
    if len(text) > MAX_URL_CHARACTERS or "\\" in text or not text.isprintable() or not _SHAPE.fullmatch(text):
        raise forbidden_address()
    try:
        url = URL(text).with_fragment(None)
        is_valid = url.raw_host is not None and _is_unambiguous_host(url.raw_host) and bool(url.port)
    except (ValueError, UnicodeError) as error:
        raise forbidden_address() from error
    if not is_valid or url.raw_user is not None or url.raw_password is not None:
        raise forbidden_address()
    return url


def redirect_target(base: URL, location: str) -> URL:
    """Parse the target of a redirect as strictly as the first URL. Raises SourceForbidden."""
    # Browsers read "\" as "/"; a hostile origin may use that in a redirect to "/\host".
    if not location.isprintable() or "\\" in location:
        raise forbidden_address()
    try:
        return read_url(str(base.join(URL(location))))
    except (ValueError, UnicodeError) as error:
        raise forbidden_address() from error


def has_dot_segments(path: str) -> bool:
    """True if the path contains a backslash or a `..` segment after any number of percent-decodings.

    `..;x` counts as `..`: servlet containers remove the semicolon and the text after it before they resolve dots.
    """
    while (decoded := unquote(path)) != path:
        path = decoded
    return "\\" in path or any(segment.partition(";")[0] == ".." for segment in path.split("/"))


def loggable_origin(url: URL) -> str:
    """The part of a URL that may be logged: scheme, host and port. Paths and queries may contain credentials."""
    return str(url.origin())


def origin(url: URL) -> tuple[str, str | None, int | None]:
    """The scheme, host and port of a URL. Two URLs with equal values have the same origin."""
    return url.scheme, url.raw_host, url.port


def _is_unambiguous_host(host: str) -> bool:
    """True if all programs read the host alike: as a name, or as an address in its usual notation.

    False for 127.1, 0x7f.1, 2130706433 or 0177.0.0.1: some programs read a host that ends in a number as an address
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
