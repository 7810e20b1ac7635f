"""Builds the records of results, and stores results in the cache.

A result is a rendition, a document about an image, or an original.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from cropmark.model.formats import TRAITS
from cropmark.pipeline.keys import cache_tag
from cropmark.plan.plan import Order, RequestWarning
from cropmark.plan.source import SitePath
from cropmark.ports import Cache, Digest, OpenSource, Passthrough, Record, Rendered, Rendition, SourceVersion
from cropmark.runtime.purge_log import Began, PurgeHistory, write_position
from cropmark.runtime.reads import source_media_type


def etag_of(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def image_rendition(
    outcome: Rendered | Passthrough,
    versions: tuple[SourceVersion, ...],
    warnings: list[RequestWarning],
    tags: tuple[str, ...],
) -> Rendition:
    all_warnings = (*warnings, *outcome.warnings)
    tags = (*source_tags(versions), *tags)
    if isinstance(outcome, Passthrough):
        record = Record("", "", 0, outcome.facts, all_warnings, versions, tags, outcome.reason)
        return Rendition(b"", record=record)
    media_type = TRAITS[outcome.format].media_type
    facts = replace(outcome.facts, format=outcome.format)
    record = Record(media_type, etag_of(outcome.body), len(outcome.body), facts, all_warnings, versions, tags)
    return Rendition(outcome.body, record=record)


def source_tags(versions: tuple[SourceVersion, ...]) -> tuple[str, ...]:
    """The tags for purges: one for each source, and one for each purge key that an origin sent."""
    keys = dict.fromkeys(key for version in versions for key in version.keys.split())
    return (
        *(cache_tag("source", version.identity) for version in versions),
        *(cache_tag("tag", key) for key in keys),
    )


def other_media_type(opened: OpenSource, order: Order) -> str | None:
    """The media type of a file that is not an image; None if the file must not be sent.

    It is sent only if its type is known and it has a path in the site. It is not sent if a client chose its URL.
    """
    ref = order.sources[0].ref
    if order.delivery.untrusted or not isinstance(ref, SitePath):
        return None
    return opened.media_type or source_media_type(opened, ref.path.rpartition("/")[2])


def original_record(record: Record, opened: OpenSource, media_type: str) -> Record:
    """The cached record of an original, updated with the ETag, length and version of the file that is open now."""
    version = opened.version
    digest = hashlib.sha256(f"{version.identity}\n{version.version}".encode("utf-8", "surrogateescape")).hexdigest()
    return replace(
        record,
        media_type=media_type,
        etag=f'"{digest[:32]}"',
        length=opened.bytes,
        versions=(version,),
    )


async def store(cache: Cache, history: PurgeHistory, key: Digest, rendition: Rendition, began: Began) -> None:
    """Store a result in the cache, unless it was purged since `began`."""
    record = rendition.record
    if not history.is_purged(record.tags, began):
        record = replace(record, purges_seen=write_position(began.position))
        await cache.put(key, Rendition(rendition.body, record=record))
