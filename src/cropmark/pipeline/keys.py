"""Cache keys of results, fingerprints of orders, and the tags by which results are purged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cropmark.model.extras import INSTALLED, MOTION
from cropmark.plan.plan import Order, Plan
from cropmark.plan.source import SourceRef
from cropmark.ports import RENDER_VERSION, Digest, Source, SourceVersion

SOURCE_TAG = "source:"
"""Prefix of the tag of a source. The source's identity follows it."""
_FRAMES = "/motion" if MOTION.name in INSTALLED else ""
NO_PLAN = "original"
"""The fingerprint of an order without a plan."""


def cache_tag(kind: str, name: str) -> str:
    """A tag of a cached entry, by which it can be purged, such as `source:…`.

    It ends with a newline, so that a name is never a prefix of a longer name.
    """
    return f"{kind}:{name}\n"


def url_tag(url: str) -> str:
    """The tag for the path and query of a URL.

    It has a digest in place of the URL, because tags are stored and a URL may contain a token.
    """
    return cache_tag("url", hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:32])


def fingerprint_of(order: Order) -> str:
    """A text that identifies the requested image or document among all results with the same sources.

    It changes when the extra `motion` is installed, because then all frames of an AVIF are read.
    """
    if order.facts is not None:
        return f"facts/{order.facts.name}{_FRAMES}"
    return f"{_fingerprint(order.plan)}{_FRAMES}" if order.plan else NO_PLAN


@lru_cache(1024)  # the URLs of a site share few Plans; computing a fingerprint takes ten times as long as the lookup
def _fingerprint(plan: Plan) -> str:
    return plan.fingerprint()


def cache_key(versions: Sequence[SourceVersion | None], fingerprint: str) -> Digest:
    """The cache key of a result: a digest of the versions of its sources, its fingerprint and RENDER_VERSION.

    A SourceVersion also has a generation, which counts the purges of one server. It is not part of the key, because
    servers share results.
    """
    parts = [RENDER_VERSION, fingerprint]
    for version in versions:
        parts += [version.identity, version.version] if version else ["-", "-"]
    return Digest(hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest())


def order_key(identities: Sequence[str], fingerprint: str) -> Digest:
    """A key of the order that is the same for all versions of its sources. It differs from every cache_key()."""
    text = "\n".join(("order", RENDER_VERSION, fingerprint, *identities))
    return Digest(hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest())


@lru_cache(8192)  # for hits: three times faster than computing the digest
def memoized_cache_key(versions: tuple[SourceVersion, ...], fingerprint: str) -> Digest:
    return cache_key(versions, fingerprint)


@dataclass(frozen=True, slots=True)
class PurgeTarget:
    """Selects the cache entries with a tag that begins with `tag`.

    If `source` is set, the same images are also purged in that source.
    """

    tag: str
    source: Source | None = None


def covering_tags(targets: Iterable[PurgeTarget]) -> list[str]:
    """The different tags of the targets, without each tag that begins with another tag.

    The shorter tag covers the longer one.
    """
    tags = list(dict.fromkeys(target.tag for target in targets))
    return [tag for tag in tags if not any(tag != other and tag.startswith(other) for other in tags)]


def source_targets(source: Source, ref: SourceRef, *, below: bool = False) -> list[PurgeTarget]:
    """The targets for a purge of the image `ref`; with `below`, of all images that have its path as a prefix.

    Raises SourceProblem if the source cannot read this kind of reference.
    """
    ends = ("",) if below else ("\n", "?")  # an origin's image may have a query
    return [PurgeTarget(f"{SOURCE_TAG}{source.identity(ref)}{end}", source) for end in ends]
