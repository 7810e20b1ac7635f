"""How long an answer may be used, as its headers tell it (RFC 9111, RFC 5861). Pure.

A shared cache reads: s-maxage before max-age before Expires before a tenth of the time since Last-Modified before the
default. The operator's bounds come last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

_LONGEST_S = 2**31
_DIRECTIVE = re.compile(r'([!#$%&\'*+\-.^_`|~0-9A-Za-z]{1,64})(?:=(?:"([^"]*)"|([^\s,"]*)))?')


@dataclass(frozen=True, slots=True)
class LifetimeBounds:
    """The operator's bounds, in seconds.

    `minimum_s` holds against the origin's word too: one picture in eight widths is looked at more than once.
    `default_s` is for answers that say nothing; the windows are for those that name none of their own.
    """

    minimum_s: float = 1
    maximum_s: float = 7 * 86_400
    default_s: float = 300
    stale_while_revalidate_s: float = 300
    stale_if_error_s: float = 86_400
    failure_s: float = 5
    """How long a fetch that failed is not tried again."""


LIFETIMES = LifetimeBounds()


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Seconds from now: how long it is fresh, and how long past that it may be used while, or because, ..."""

    fresh_s: float
    stale_while_revalidate_s: float
    stale_if_error_s: float
    storable: bool = True
    """Whether it may be kept at all: not with no-store or private, and not where Vary hides what it depends on."""


def freshness(headers: Mapping[str, str], now_s: float, lifetimes: LifetimeBounds) -> Lifetimes:
    """What the headers of an answer (names in any case, if the mapping ignores it) tell at that Unix time.

    Header values that do not match their grammar count as absent, but a malformed Expires as past (RFC 9111 5.3).
    """
    said = directives(headers.get("Cache-Control", ""))
    if is_private(headers.get("Cache-Control")) or headers.get("Vary", "").strip() == "*":
        return Lifetimes(0, 0, 0, storable=False)
    strict = {"no-cache", "must-revalidate", "proxy-revalidate"} & said.keys()
    lifetime = 0.0 if "no-cache" in said else _lifetime(headers, said, now_s, lifetimes)
    fresh = min(max(lifetime - _seconds(headers.get("Age")), lifetimes.minimum_s), lifetimes.maximum_s)
    if strict:
        return Lifetimes(fresh, 0, 0)
    # Judgement: unless the origin says so, nothing is used stale for longer than it was fresh; max-age=0 is meant.
    meanwhile = min(lifetimes.stale_while_revalidate_s, lifetime)
    return Lifetimes(
        fresh,
        _named(said, "stale-while-revalidate", meanwhile),
        _named(said, "stale-if-error", lifetimes.stale_if_error_s),
    )


def is_private(cache_control: str | None) -> bool:
    """Whether it is for whoever asked alone."""
    return bool({"no-store", "private"} & directives(cache_control or "").keys())


def directives(text: str) -> dict[str, str]:
    """The directives of a Cache-Control header, names in lower case; the first of a name counts."""
    found: dict[str, str] = {}
    for name, quoted, bare in _DIRECTIVE.findall(text[:4096]):
        found.setdefault(name.lower(), quoted or bare)
    return found


def http_date(text: str | None) -> float | None:
    """Unix time of an HTTP date; None where it is not one."""
    if not text or len(text) > 64:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _lifetime(headers: Mapping[str, str], said: Mapping[str, str], now_s: float, lifetimes: LifetimeBounds) -> float:
    for name in ("s-maxage", "max-age"):
        if name in said:
            return _seconds(said[name])
    sent = http_date(headers.get("Date")) or now_s
    if "Expires" in headers:
        return max(0.0, (http_date(headers["Expires"]) or 0.0) - sent)
    modified = http_date(headers.get("Last-Modified"))
    if modified is not None:
        # The heuristic of RFC 9111 4.2.2, within a day.
        return min(max((sent - modified) / 10, lifetimes.default_s), 86_400)
    return lifetimes.default_s


def _named(said: Mapping[str, str], name: str, default: float) -> float:
    return _seconds(said[name]) if name in said else default


def _seconds(text: str | None) -> float:
    """Whole seconds; 0 for what is none. Not int(): it takes "1_000" and full-width digits."""
    if text is None or not (text.isascii() and text.isdecimal()):
        return 0.0
    return float(_LONGEST_S) if len(text) > 10 else float(min(int(text), _LONGEST_S))
