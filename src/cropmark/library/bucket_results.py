"""Results that were promised a link, in an object store that several servers may share.

As in a folder, a record means a whole body: it is written after it and removed before it. There is no index: a link is
looked up in the store, and what is past its time, or too much, goes when the store is swept.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from cropmark.library.bucket import Bucket
from cropmark.library.results import DEAD_S, GIB, ID, SWEEP_S, WEEK_S, is_over, no_room, read_record, record_of
from cropmark.model.formats import TRAITS, Format
from cropmark.model.problems import Overloaded
from cropmark.ports import OpenSource, SourceVersion, StoredResult

log = structlog.get_logger("cropmark.results")

SETTING: Final = "pixlab_store"
_FOLDER: Final = "results"


@dataclass(frozen=True, slots=True)
class ResultLimits:
    """`lifetime_s` 0: until they are forgotten, or room is needed."""

    lifetime_s: float = WEEK_S
    bytes: int = GIB
    entries: int = 100_000


class BucketResults:
    """Implements ports.Results."""

    def __init__(self, bucket: Bucket, limits: ResultLimits, clock: Callable[[], float] = time.time) -> None:
        self._bucket = bucket
        self._limits = limits
        self._clock = clock
        self._sweeping: asyncio.Task[None] | None = None

    @classmethod
    async def opened(
        cls, url: str, limits: ResultLimits, *, role: bool = False, sweep_s: float = SWEEP_S
    ) -> BucketResults:
        """The results at a URL, swept now and then. Raises LibraryUnusable."""
        bucket = Bucket.at(url, SETTING, role=role)
        await asyncio.to_thread(bucket.check, _FOLDER, SETTING)
        results = cls(bucket, limits)
        results._sweeping = asyncio.create_task(results._swept_every(sweep_s))
        return results

    async def put(self, body: bytes | OpenSource, kind: Format, owner: str, comment: str = "") -> StoredResult:
        length = len(body) if isinstance(body, bytes) else body.bytes
        if length > self._limits.bytes:
            raise no_room()
        now = self._clock()
        expires_s = now + self._limits.lifetime_s if self._limits.lifetime_s else None
        kept = StoredResult(secrets.token_urlsafe(18), kind, length, owner, now, expires_s, comment)
        try:
            await asyncio.to_thread(self._write, kept, body)
        except OSError as error:
            raise _away() from error
        return kept

    async def open(self, media_id: str) -> tuple[StoredResult, OpenSource] | None:
        try:
            kept = await asyncio.to_thread(self._find, media_id)
            return None if kept is None else (kept, await asyncio.to_thread(self._fetched, kept))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _away() from error

    async def delete(self, media_id: str, owner: str) -> bool:
        try:
            kept = await asyncio.to_thread(self._find, media_id)
            if kept is None or kept.owner != owner:
                return False
            await asyncio.to_thread(self._remove, [_record(media_id), _body(kept)])
        except OSError as error:
            raise _away() from error
        return True

    async def sweep(self) -> None:
        """Remove what is past its time, the oldest where there is too much, and what nobody finished."""
        await asyncio.to_thread(self._swept)

    async def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)

    async def _swept_every(self, pause_s: float) -> None:
        while True:
            with contextlib.suppress(OSError):  # it is logged where it was met
                await self.sweep()
            await asyncio.sleep(pause_s)

    # ------------------------------------------------------------------------------------------ in threads

    def _write(self, kept: StoredResult, body: bytes | OpenSource) -> None:
        self._bucket.put(_body(kept), body)
        self._bucket.put(_record(kept.id), record_of(kept))

    def _find(self, media_id: str) -> StoredResult | None:
        if ID.fullmatch(media_id) is None:
            return None
        told = io.BytesIO()
        try:
            self._bucket.fetch(_record(media_id), told)
        except FileNotFoundError:
            return None
        kept = read_record(media_id, told.getvalue())
        return None if kept is None or is_over(kept, self._clock()) else kept

    def _fetched(self, kept: StoredResult) -> OpenSource:
        with tempfile.TemporaryFile() as file:
            self._bucket.fetch(_body(kept), file)
            descriptor = os.dup(file.fileno())
        return OpenSource(
            descriptor,
            kept.bytes,
            SourceVersion(f"result:{kept.id}", kept.id, versioned=True),
            io.FileIO(descriptor).close,
        )

    def _remove(self, paths: list[str]) -> None:
        for path in paths:
            self._bucket.remove(path)

    def _swept(self) -> None:
        groups = _grouped(self._bucket.listed(_FOLDER))
        going = [group for group in groups if self._is_going(group)]
        staying = [group for group in groups if group not in going and group.record]
        left = sum(group.bytes for group in staying)
        for at, group in enumerate(staying):
            if left <= self._limits.bytes and len(staying) - at <= self._limits.entries:
                break
            left -= group.bytes
            going.append(group)
        for group in going:
            self._remove([*group.record, *group.others])

    def _is_going(self, group: _Group) -> bool:
        """Past its time, as the store tells when it was written; without a record, nobody's after an hour."""
        age_s = self._clock() - group.written_s
        if not group.record:
            return age_s > DEAD_S
        return bool(self._limits.lifetime_s) and age_s > self._limits.lifetime_s


@dataclass(frozen=True, slots=True)
class _Group:
    """The objects of one result: the path of its record, if there is one, and of all others."""

    written_s: float
    bytes: int
    record: tuple[str, ...]
    others: tuple[str, ...]


def _grouped(listed: list[dict[str, object]]) -> list[_Group]:
    """The oldest first."""
    by_id: dict[str, list[tuple[str, float, int]]] = {}
    for one in listed:
        path, modified, size = str(one["path"]), one["last_modified"], one["size"]
        assert isinstance(modified, datetime)
        assert isinstance(size, int)
        by_id.setdefault(path.rpartition("/")[2].partition(".")[0], []).append((path, modified.timestamp(), size))
    groups = [
        _Group(
            max(written for _, written, _ in objects),
            sum(size for _, _, size in objects),
            tuple(path for path, _, _ in objects if path.endswith(".json")),
            tuple(path for path, _, _ in objects if not path.endswith(".json")),
        )
        for objects in by_id.values()
    ]
    return sorted(groups, key=lambda group: group.written_s)


def _record(media_id: str) -> str:
    return f"{_FOLDER}/{media_id}.json"


def _body(kept: StoredResult) -> str:
    return f"{_FOLDER}/{kept.id}.{TRAITS[kept.format].extension}"


def _away() -> Overloaded:
    return Overloaded("results cannot be kept or read now", fix="try again, or ask with blob=true", retry_after_s=10)
