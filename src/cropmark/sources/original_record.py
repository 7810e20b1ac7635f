"""The record of an original: where its bytes came from, which they are, and how long they may be used."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import get_type_hints

from cropmark.ports import SourceVersion
from cropmark.sources.freshness import Lifetimes, is_private


class Freshness(Enum):
    """How an original may be used."""

    FRESH = "as it is"
    STALE = "meanwhile"
    """While a conditional request runs."""
    EXPIRED = "not"


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """All that is known of an original but its bytes. Times are Unix seconds."""

    identity: str
    final_url: str
    digest: str
    bytes: int
    fetched_s: float
    fresh_until_s: float
    stale_while_revalidate_until_s: float
    """Until then it is used stale while a conditional request runs."""
    stale_if_error_until_s: float
    """Until then it is used where its origin fails."""
    etag: str | None = None
    last_modified: str | None = None
    modified_s: float | None = None
    generation: int = 0
    cache_control: str | None = None

    @property
    def version(self) -> SourceVersion:
        private = is_private(self.cache_control)
        # Else what was made of a public picture would be told as public when the picture no longer is.
        version = f"{self.digest}-private" if private else self.digest
        said = self.cache_control
        return SourceVersion(
            self.identity, version, self.generation, self.modified_s, private=private, cache_control=said
        )

    def use(self, now_s: float, *, failing: bool) -> Freshness:
        """How it may be used now; `failing`: its origin was asked a moment ago and could not answer."""
        if now_s < self.fresh_until_s or (failing and now_s < self.stale_if_error_until_s):
            return Freshness.FRESH
        return Freshness.STALE if now_s < self.stale_while_revalidate_until_s else Freshness.EXPIRED

    def revalidated(self, now_s: float, fresh: Lifetimes) -> SourceRecord:
        """The record with its clock set anew."""
        until = now_s + fresh.fresh_s
        return replace(
            self,
            fetched_s=now_s,
            fresh_until_s=until,
            stale_while_revalidate_until_s=until + fresh.stale_while_revalidate_s,
            stale_if_error_until_s=until + fresh.stale_if_error_s,
        )

    @property
    def lifetimes(self) -> Lifetimes:
        """The freshness that it was kept with: it holds on where a 304 tells no other."""
        until = self.fresh_until_s
        return Lifetimes(
            until - self.fetched_s, self.stale_while_revalidate_until_s - until, self.stale_if_error_until_s - until
        )


def written(record: SourceRecord) -> str:
    """The record as JSON, in ASCII."""
    return json.dumps(asdict(record))


def read_record(path: Path) -> SourceRecord | None:
    """The record in a file; None where it is not one that this version wrote."""
    try:
        record = SourceRecord(**json.loads(path.read_text("ascii")))
    except (OSError, ValueError, TypeError):
        return None
    sound = all(isinstance(getattr(record, name), kind) for name, kind in _KINDS.items())
    return record if sound and record.bytes > 0 else None


_KINDS = get_type_hints(SourceRecord)
