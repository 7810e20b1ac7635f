"""Computes from the headers of an origin's response how long the response may be used. Pure functions.

Follows RFC 9111 for a shared cache: s-maxage, else max-age, else Expires, else a tenth of the time since Last-Modified,
else the default. The operator's bounds are applied last. stale-while-revalidate and stale-if-error follow RFC 5861.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

_MAX_LIFETIME_S = 2**31
MAX_KEYS_BYTES = 2048
"""Limit of the total length of the keys for purges in a response. Further keys are ignored."""
_KEY = re.compile(r"[!-+\--~]{1,256}")
_DIRECTIVE = re.compile(r'([!#$%&\'*+\-.^_`|~0-9A-Za-z]{1,64})(?:=(?:"([^"]*)"|([^\s,"]*)))?')


@dataclass(frozen=True, slots=True)
class LifetimeBounds:
    """The operator's limits and defaults for the lifetimes of responses, in seconds.

    `minimum_s` applies even if the origin sends a shorter lifetime, so that an image in eight widths is fetched once.
    `default_s` applies to responses without a lifetime. The two `stale_` times apply to responses that do not set them.
    """

    minimum_s: float = 1
    maximum_s: float = 7 * 86_400
    default_s: float = 300
    stale_while_revalidate_s: float = 300
    stale_if_error_s: float = 86_400
    failure_s: float = 5
    """Time for which a failed fetch of a web origin or a bucket is not repeated: 404, 5xx, timeout, unusable body."""


DEFAULT_BOUNDS = LifetimeBounds()


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """The times for which a response may be used, in seconds.

    The response is fresh for `fresh_s`. The two `stale_` times begin after that.
    """

    fresh_s: float
    stale_while_revalidate_s: float
    stale_if_error_s: float
    storable: bool = True
    """False if the response has `no-store`, `private` or `Vary: *`."""


def lifetimes_of(headers: Mapping[str, str], now_s: float, bounds: LifetimeBounds) -> Lifetimes:
    """The lifetimes of a response that was received at the Unix time `now_s`.

    The mapping `headers` must ignore the case of names. Values that do not match their grammar count as absent, but a
    malformed Expires means expired (RFC 9111, section 5.3).
    """
    control = directives(headers.get("Cache-Control", ""))
    if is_private(headers.get("Cache-Control")) or headers.get("Vary", "").strip() == "*":
        return Lifetimes(0, 0, 0, storable=False)
    strict = {"no-cache", "must-revalidate", "proxy-revalidate"} & control.keys()
    lifetime = 0.0 if "no-cache" in control else _lifetime(headers, control, now_s, bounds)
    fresh = min(max(lifetime - _seconds(headers.get("Age")), bounds.minimum_s), bounds.maximum_s)
    if strict:
        return Lifetimes(fresh, 0, 0)
    # Judgement: without stale-while-revalidate, a response is used stale no longer than it was fresh, so that
    # max-age=0 is respected.
    revalidate_s = min(bounds.stale_while_revalidate_s, lifetime)
    return Lifetimes(
        fresh,
        _directive_s(control, "stale-while-revalidate", revalidate_s),
        _directive_s(control, "stale-if-error", bounds.stale_if_error_s),
    )


def is_private(cache_control: str | None) -> bool:
    """True if the Cache-Control header forbids shared caches to store the response."""
    return bool({"no-store", "private"} & directives(cache_control or "").keys())


def origin_keys(headers: Mapping[str, str]) -> str:
    """The keys for purges in the headers Surrogate-Key and Cache-Tag, joined by spaces.

    Surrogate-Key separates keys by spaces, Cache-Tag by commas. Keys that are not printable ASCII are ignored, as are
    keys beyond MAX_KEYS_BYTES.
    """
    keys: dict[str, None] = {}
    length = 0
    for key in f"{headers.get('Surrogate-Key', '')} {headers.get('Cache-Tag', '').replace(',', ' ')}".split():
        length += 0 if key in keys else len(key) + 1
        if length > MAX_KEYS_BYTES:
            break
        if _KEY.fullmatch(key):
            keys[key] = None
    return " ".join(keys)


def directives(text: str) -> dict[str, str]:
    """The directives of a Cache-Control header, by name in lower case. The first of repeated directives counts."""
    found: dict[str, str] = {}
    for name, quoted, bare in _DIRECTIVE.findall(text[:4096]):
        found.setdefault(name.lower(), quoted or bare)
    return found


def http_date(text: str | None) -> float | None:
    """The Unix time of an HTTP date; None if it is not valid."""
    if not text or len(text) > 64:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _lifetime(headers: Mapping[str, str], control: Mapping[str, str], now_s: float, bounds: LifetimeBounds) -> float:
    for name in ("s-maxage", "max-age"):
        if name in control:
            return _seconds(control[name])
    sent = http_date(headers.get("Date")) or now_s
    if "Expires" in headers:
        return max(0.0, (http_date(headers["Expires"]) or 0.0) - sent)
    modified = http_date(headers.get("Last-Modified"))
    if modified is not None:
        # The heuristic of RFC 9111, section 4.2.2, limited to a day.
        return min(max((sent - modified) / 10, bounds.default_s), 86_400)
    return bounds.default_s


def _directive_s(control: Mapping[str, str], name: str, default: float) -> float:
    return _seconds(control[name]) if name in control else default


def _seconds(text: str | None) -> float:
    """The number of seconds in a text of ASCII digits; 0 for any other text. int() would also accept "1_000"."""
    if text is None or not (text.isascii() and text.isdecimal()):
        return 0.0
    return float(_MAX_LIFETIME_S) if len(text) > 10 else float(min(int(text), _MAX_LIFETIME_S))
