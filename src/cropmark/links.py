"""Builds links to images for the pages of a site: signed URLs and srcsets."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final
from urllib.parse import quote, urlsplit

from cropmark.security.signing import Keyring, SigningKey

WIDTHS: Final = (320, 480, 640, 960, 1280, 1920)
"""Default widths of a srcset in pixels.

Each is at most 1.5 times the previous width, so that browsers load few pixels that they do not show.
"""

WIDTH_PARAMETERS: Final[Mapping[str, str]] = MappingProxyType(
    {"fastly": "width", "contentstack": "width", "kontent": "w"}
)
"""The name of the width parameter, by dialect."""

_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"([0-9]{1,9})([smhd]?)")
# Characters that browsers and servers leave unchanged in a path or query.
_SAFE: Final = "/:,;@!$*()-._~%"


def sign(url: str, key: str | Sequence[str], *, expires: str | int | None = None, key_id: str | None = None) -> str:
    """Sign a URL: `/fastly/blue.jpg?width=300` becomes `/fastly/blue.jpg?width=300&sig=…`. Raises ValueError.

    `url` is a path with its query, or a URL, of which the host is not signed. `key` is the text of one of the server's
    `signing_keys`, `KEY` or `ID:KEY`. If `key` is a list of such texts, `key_id` selects one. `expires` is the lifetime
    of the signature: seconds, or a text such as `90s`, `15m`, `1h`, `7d`.
    """
    keys = [key] if isinstance(key, str) else key
    duration = None if expires is None else str(expires)
    return sign_url(url, Keyring(SigningKey.read(one) for one in keys), duration, key_id)


def srcset(
    url: str,
    widths: Iterable[int] = WIDTHS,
    *,
    dialect: str = "fastly",
    key: str | Sequence[str] | None = None,
    expires: str | int | None = None,
    key_id: str | None = None,
) -> str:
    """The value of a `srcset` attribute with the URL in several widths: `/a.jpg?width=320 320w, /a.jpg?width=640 640w`.

    The URL may have a query, but no width. With a `key`, each URL is signed as by sign(). The text is not escaped for
    HTML; a template does that. Raises ValueError.
    """
    if dialect not in WIDTH_PARAMETERS:
        raise ValueError(f"expected one of {', '.join(WIDTH_PARAMETERS)}, got {dialect[:40]!r}")
    name = WIDTH_PARAMETERS[dialect]
    if name in query_names(url):
        raise ValueError(f"expected a URL without {name}=, which srcset adds")
    candidates = []
    for width in sorted(set(widths)):
        if width < 1:
            raise ValueError(f"expected widths of at least 1 pixel, got {width}")
        sized = with_query(url, {name: width})
        signed = sized if key is None else sign(sized, key, expires=expires, key_id=key_id)
        candidates.append(f"{signed} {width}w")
    if not candidates:
        raise ValueError("expected at least one width")
    return ", ".join(candidates)


def with_query(url: str, parameters: Mapping[str, object]) -> str:
    """The URL with percent-encoded parameters added to its query. Parameters with the value None are omitted."""
    pairs = [(name, value) for name, value in parameters.items() if value is not None]
    if not pairs:
        return url
    query = "&".join(f"{quote(name, safe=_SAFE)}={quote(str(value), safe=_SAFE)}" for name, value in pairs)
    return f"{url}{'&' if '?' in url else '?'}{query}"


def query_names(url: str) -> tuple[str, ...]:
    """The names of the parameters in a URL, not percent-decoded."""
    return tuple(pair.partition("=")[0] for pair in url.partition("?")[2].split("&") if pair)


# ------------------------------------------------------------------------------------------------ keyrings


def sign_url(url: str, keys: Keyring, expires: str | None = None, key_id: str | None = None) -> str:
    """Sign a URL. The signature is valid for the duration `expires`; without it, forever. Raises ValueError."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
    expires_s = None if expires is None else int(time.time()) + duration_s(expires)
    return origin + keys.sign(url.removeprefix(origin), expires_s=expires_s, key_id=key_id)


def duration_s(text: str) -> int:
    """The seconds of a duration such as `90`, `90s`, `15m`, `1h` or `7d`. Raises ValueError."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"expected a duration such as 90s, 15m, 1h or 7d, got {text[:40]!r}")
    return int(found[1]) * _UNITS[found[2]]
