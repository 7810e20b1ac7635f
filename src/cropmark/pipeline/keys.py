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
    """A tag for purges. The newline at its end prevents that a name is a prefix of a longer name."""
    return f"{kind}:{name}\n"


def url_tag(url: str) -> str:
    """The tag of a URL's path and query. Contains a digest of them: tags are stored, and a URL may contain a token."""
    return cache_tag("url", hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:32])


def fingerprint_of(order: Order) -> str:
    """Identifies the requested image or document among all results that have the same sources.

    It changes when the extra `motion` is installed, with which all frames of an AVIF are read.
    """
    if order.facts is not None:
        return f"facts/{order.facts.name}{_FRAMES}"
    return f"{_fingerprint(order.plan)}{_FRAMES}" if order.plan else NO_PLAN


@lru_cache(1024)  # the URLs of a site share few Plans; computing a fingerprint takes ten times as long as the lookup
def _fingerprint(plan: Plan) -> str:
    return plan.fingerprint()


def cache_key(versions: Sequence[SourceVersion | None], fingerprint: str) -> Digest:
    """The cache key of a result: a digest of its sources' versions, its fingerprint, and RENDER_VERSION.

    Generations of the versions are not part of it: they count the purges of one server, but servers share results.
    """
    parts = [RENDER_VERSION, fingerprint]
    for version in versions:
        parts += [version.identity, version.version] if version else ["-", "-"]
    return Digest(hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest())


def order_key(identities: Sequence[str], fingerprint: str) -> Digest:
    """The key of an order for any version of its sources. It differs from every cache_key()."""
    text = "\n".join(("order", RENDER_VERSION, fingerprint, *identities))
    return Digest(hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest())


@lru_cache(8192)  # for hits: three times faster than computing the digest
def memoized_cache_key(versions: tuple[SourceVersion, ...], fingerprint: str) -> Digest:
    return cache_key(versions, fingerprint)


@dataclass(frozen=True, slots=True)
class PurgeTarget:
    """Selects the entries with a tag that begins with `tag`. If `source` is set, it must also purge images of the
    tag."""

    tag: str
    source: Source | None = None


def covering_tags(targets: Iterable[PurgeTarget]) -> list[str]:
    """The different tags of the targets, without those that begin with another one, which covers them."""
    tags = list(dict.fromkeys(target.tag for target in targets))
    return [tag for tag in tags if not any(tag != other and tag.startswith(other) for other in tags)]


def source_targets(source: Source, ref: SourceRef, *, below: bool = False) -> list[PurgeTarget]:
    """The targets for a purge of the image `ref` or, with `below`, of all images that have its path as a prefix.

    Raises SourceProblems if the source cannot read this kind of reference.
    """
    ends = ("",) if below else ("\n", "?")  # an origin's image may have a query
    return [PurgeTarget(f"{SOURCE_TAG}{source.identity(ref)}{end}", source) for end in ends]
