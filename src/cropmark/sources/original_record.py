"""The record of a stored original: its URL, the digest of its bytes, and the times until which it may be used."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import get_type_hints

from cropmark.ports import SourceVersion
from cropmark.sources.freshness import Lifetimes, is_private


class Freshness(Enum):
    """The freshness of a stored original. It decides whether the original may be used."""

    FRESH = "fresh"
    STALE = "stale"
    """The original may be used while a conditional request to the origin runs."""
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """Metadata of a stored original. Times are Unix seconds."""

    identity: str
    final_url: str
    """The URL of the response, after redirects."""
    digest: str
    bytes: int
    fetched_s: float
    fresh_until_s: float
    stale_while_revalidate_until_s: float
    """Time until which the original may be used while a conditional request to the origin runs."""
    stale_if_error_until_s: float
    """Time until which the original may be used if a request to the origin fails."""
    etag: str | None = None
    last_modified: str | None = None
    modified_s: float | None = None
    generation: int = 0
    cache_control: str | None = None
    keys: str = ""
    """The keys for purges that the origin sent, separated by spaces."""

    @property
    def version(self) -> SourceVersion:
        private = is_private(self.cache_control)
        # If a public image becomes private, its public renditions in the cache must not be served again.
        version = f"{self.digest}-private" if private else self.digest
        return SourceVersion(
            self.identity,
            version,
            self.generation,
            self.modified_s,
            private=private,
            cache_control=self.cache_control,
            keys=self.keys,
            fetched_s=self.fetched_s,
        )

    @property
    def lifetimes(self) -> Lifetimes:
        """The lifetimes with which the record was stored. They apply again after a 304 without caching headers."""
        until = self.fresh_until_s
        return Lifetimes(
            until - self.fetched_s, self.stale_while_revalidate_until_s - until, self.stale_if_error_until_s - until
        )

    def freshness(self, now_s: float, *, failing: bool) -> Freshness:
        """The freshness of the original at `now_s`. `failing` is true if the last request to the origin failed.

        While the origin fails, the original counts as fresh until `stale_if_error_until_s`.
        """
        if now_s < self.fresh_until_s or (failing and now_s < self.stale_if_error_until_s):
            return Freshness.FRESH
        return Freshness.STALE if now_s < self.stale_while_revalidate_until_s else Freshness.EXPIRED

    def revalidated(self, now_s: float, lifetimes: Lifetimes) -> SourceRecord:
        """The record with new lifetimes that begin at `now_s`."""
        until = now_s + lifetimes.fresh_s
        return replace(
            self,
            fetched_s=now_s,
            fresh_until_s=until,
            stale_while_revalidate_until_s=until + lifetimes.stale_while_revalidate_s,
            stale_if_error_until_s=until + lifetimes.stale_if_error_s,
        )


def encode_record(record: SourceRecord) -> str:
    """The record as JSON in ASCII."""
    return json.dumps(asdict(record))


def read_record(path: Path) -> SourceRecord | None:
    """The record in a file; None if the file cannot be read, or if another version of cropmark wrote other fields."""
    try:
        record = SourceRecord(**json.loads(path.read_text("ascii")))
    except (OSError, ValueError, TypeError):
        return None
    is_valid = all(isinstance(getattr(record, name), kind) for name, kind in _FIELD_TYPES.items())
    return record if is_valid and record.bytes > 0 else None


_FIELD_TYPES = get_type_hints(SourceRecord)
