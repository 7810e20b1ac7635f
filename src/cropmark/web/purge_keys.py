"""Keys in a response's header, by which a CDN can purge the response.

A response has a key for its site, for each source, and for each folder above a source. It also has the keys that an
origin sent.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cropmark.pipeline import PurgeTarget
from cropmark.ports import Purge, PurgeKind, Record

SEPARATORS: Final = {"surrogate-key": " ", "cache-tag": ","}
"""The headers for keys, Fastly's and Cloudflare's, each with the separator between its keys."""
_MAX_FOLDERS: Final = 16
_NOT_A_KEY: Final = re.compile(r"[^!-+\--~]+")
_SOURCE_TAG: Final = "source:"


@dataclass(frozen=True, slots=True)
class CdnPurge:
    """A purge to request from a CDN: of keys, of one URL, or of everything."""

    keys: tuple[str, ...] = ()
    path: str = ""
    """The URL to purge, or its path and query; empty: the keys are purged."""
    everything: bool = False
    soft: bool = False


def key_header(name: str, site: str, record: Record) -> tuple[bytes, bytes]:
    """The response header with the keys of an image. `name` is one of SEPARATORS."""
    sources = (key for version in record.versions for key in _source_keys(version.identity))
    origins = (key for version in record.versions for key in version.keys.split())
    keys = dict.fromkeys((_key(site), *sources, *origins))
    return name.encode(), SEPARATORS[name].join(keys).encode("ascii", "replace")


def cdn_purge(purge: Purge, targets: Iterable[PurgeTarget]) -> CdnPurge:
    """The purge to request from a CDN for a purge of our own caches.

    `targets` are the cache entries that `purge` covers. The CDN's purge covers all responses made from them.
    """
    match purge.kind:
        case PurgeKind.ALL:
            return CdnPurge(everything=True, soft=purge.soft)
        case PurgeKind.URL:
            return CdnPurge(path=purge.value, soft=purge.soft)
        case PurgeKind.TAG:
            return CdnPurge((_key(purge.value),), soft=purge.soft)
        case PurgeKind.SOURCE:
            names = (_file(target.tag.removeprefix(_SOURCE_TAG)) for target in targets)
            return CdnPurge(tuple(dict.fromkeys(_digest("s", name) for name in names)), soft=purge.soft)
        case PurgeKind.PREFIX:
            prefixes = (_folders(target.tag.removeprefix(_SOURCE_TAG))[-1] for target in targets)
            return CdnPurge(tuple(dict.fromkeys(_digest("f", name) for name in prefixes)), soft=purge.soft)


def _source_keys(identity: str) -> list[str]:
    name = _file(identity)
    return [_digest("s", name), *(_digest("f", folder) for folder in _folders(name))]


def _file(identity: str) -> str:
    """The part of a source's identity before the first `?`, `#` or line end."""
    return re.split(r"[?#\n]", identity, maxsplit=1)[0]


def _folders(name: str) -> list[str]:
    """The prefixes of an identity that end with its first colon or with a slash, shortest first.

    They are the folders above the source. At most 16 are returned.
    """
    ends = [name.index(":") + 1] if ":" in name else [0]
    ends += [match.end() for match in re.finditer("/", name)]
    return [name[:end] for end in ends[:_MAX_FOLDERS]]


def _digest(kind: str, name: str) -> str:
    # A digest, since identities contain spaces and the addresses of private origins.
    return f"{kind}-{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"


def _key(name: str) -> str:
    return _NOT_A_KEY.sub("-", name)[:256]
