"""Stores the results of PixLab requests in a folder until they expire. PixLab's responses link to these images.

Each result consists of two files: a body, and a record with its metadata. The record is written after the body and
removed before it, so a result with a record is complete. The index of results is in memory. A result that another
process has stored is found on the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from cropmark.model.formats import TRAITS, Format
from cropmark.model.problems import InternalError, Overloaded
from cropmark.ports import OpenSource, SourceVersion, StoredResult
from cropmark.runtime.atomic_file import write_atomically
from cropmark.runtime.reads import source_pieces

log = structlog.get_logger("cropmark.results")

DEFAULT_TTL_S: Final = 7 * 86_400.0
DEFAULT_LIMIT_BYTES: Final = 2**30
SWEEP_INTERVAL_S: Final = 600.0
ID: Final = re.compile(r"[A-Za-z0-9_-]{24}")
"""The form of a result's id: 24 characters, which encode 144 random bits."""

STALE_PART_S: Final = 3600.0
"""An unfinished file, or a body without a record, was left by a crash if it is older."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class ResultLimits:
    """Limits of the stored results. The oldest results are removed if `bytes` or `entries` is exceeded."""

    ttl_s: float = DEFAULT_TTL_S
    """Time after which a result expires; with 0 results do not expire."""
    bytes: int = DEFAULT_LIMIT_BYTES
    entries: int = 100_000


class FolderResults:
    """A ports.ResultStore in a folder."""

    def __init__(
        self, folder: Path, limits: ResultLimits = ResultLimits(), clock: Callable[[], float] = time.time
    ) -> None:
        self._folder = folder
        self._limits = limits
        self._clock = clock
        self._results: dict[str, StoredResult] = {}
        """The index: results by id, the oldest first."""
        self._bytes = 0
        self._sweeping: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        folder: Path,
        limits: ResultLimits = ResultLimits(),
        *,
        sweep_s: float = SWEEP_INTERVAL_S,
        clock: Callable[[], float] = time.time,
    ) -> FolderResults:
        """Open the results in a folder, and sweep them in the background. The first put() creates the folder."""
        results = cls(folder, limits, clock)
        await results._try_sweep()
        results._sweeping = asyncio.create_task(results._sweep_forever(sweep_s))
        return results

    def __len__(self) -> int:
        return len(self._results)

    async def put(self, body: bytes | OpenSource, kind: Format, owner: str, comment: str = "") -> StoredResult:
        length = len(body) if isinstance(body, bytes) else body.bytes
        now = self._clock()
        expires_s = now + self._limits.ttl_s if self._limits.ttl_s else None
        result = StoredResult(secrets.token_urlsafe(18), kind, length, owner, now, expires_s, comment)
        await self._free_space(length)
        try:
            await asyncio.to_thread(self._write, result, body)
        except OSError as error:
            log.warning("a result could not be stored", folder=str(self._folder), why=error.strerror)
            if error.errno in _FULL:
                await self._evict(self._bytes // 8, self._limits.entries)
                raise storage_full() from error
            raise InternalError("the result could not be stored", fix="request the image with blob=true") from error
        self._index(result)
        return result

    async def open(self, media_id: str) -> tuple[StoredResult, OpenSource] | None:
        result = await self._find(media_id)
        if result is None:
            return None
        try:
            descriptor = os.open(self._body_path(result), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._unindex(media_id)  # another process removed it
            return None
        if os.fstat(descriptor).st_size != result.bytes:
            os.close(descriptor)
            return None
        version = SourceVersion(f"result:{media_id}", media_id, versioned=True)
        return result, OpenSource.from_fd(descriptor, result.bytes, version)

    async def delete(self, media_id: str, owner: str) -> bool:
        result = await self._find(media_id)
        if result is None or result.owner != owner:
            return False
        await self._remove([result])
        return True

    async def sweep(self) -> None:
        """Scan the folder: index the results of other processes, and remove expired and unfinished results."""
        indexed = set(self._results)
        stored = await asyncio.to_thread(self._scan)
        for media_id in indexed - {result.id for result in stored}:
            self._unindex(media_id)
        for result in stored:
            self._index(result)
        now = self._clock()
        await self._remove([result for result in self._results.values() if is_expired(result, now)])
        await self._free_space(0)

    async def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)

    async def _sweep_forever(self, pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s)
            await self._try_sweep()

    async def _try_sweep(self) -> None:
        try:
            await self.sweep()
        except FileNotFoundError:
            return  # the first put creates the folder
        except OSError as error:
            log.warning("the results could not be swept", why=error.strerror)

    # ------------------------------------------------------------------------------------------ index

    async def _find(self, media_id: str) -> StoredResult | None:
        if ID.fullmatch(media_id) is None:
            return None
        result = self._results.get(media_id)
        if result is None:
            result = await asyncio.to_thread(_read_record, self._record_path(media_id))
        return None if result is None or is_expired(result, self._clock()) else result

    def _index(self, result: StoredResult) -> None:
        if result.id not in self._results:
            self._results[result.id] = result
            self._bytes += result.bytes

    def _unindex(self, media_id: str) -> None:
        result = self._results.pop(media_id, None)
        if result is not None:
            self._bytes -= result.bytes

    async def _free_space(self, length: int) -> None:
        """Evict results until `length` more bytes fit. Raises Overloaded if `length` alone exceeds the limit."""
        if length > self._limits.bytes:
            raise storage_full()
        await self._evict(self._bytes + length - self._limits.bytes, self._limits.entries - bool(length))

    async def _evict(self, min_bytes: int, max_entries: int) -> None:
        """Remove the oldest results until `min_bytes` are freed and at most `max_entries` are left."""
        evicted: list[StoredResult] = []
        for result in self._results.values():
            if min_bytes <= 0 and len(self._results) - len(evicted) <= max_entries:
                break
            evicted.append(result)
            min_bytes -= result.bytes
        await self._remove(evicted)

    async def _remove(self, results: list[StoredResult]) -> None:
        for result in results:
            self._unindex(result.id)
        if results:
            await asyncio.to_thread(self._unlink, results)

    # ------------------------------------------------------------------------------------------ disk, in threads

    def _body_path(self, result: StoredResult) -> Path:
        return self._folder / f"{result.id}.{TRAITS[result.format].extension}"

    def _record_path(self, media_id: str) -> Path:
        return self._folder / f"{media_id}.json"

    def _write(self, result: StoredResult, body: bytes | OpenSource) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            write_atomically(self._body_path(result), [body] if isinstance(body, bytes) else source_pieces(body))
            write_atomically(self._record_path(result.id), [encode_record(result)])
        except OSError:
            with contextlib.suppress(OSError):
                self._body_path(result).unlink(missing_ok=True)
            raise

    def _unlink(self, results: list[StoredResult]) -> None:
        for result in results:
            with contextlib.suppress(OSError):
                self._record_path(result.id).unlink(missing_ok=True)
                self._body_path(result).unlink(missing_ok=True)

    def _scan(self) -> list[StoredResult]:
        """All complete results, the oldest first. Removes old files that do not belong to a complete result."""
        complete: list[StoredResult] = []
        entries = {entry.name: entry for entry in os.scandir(self._folder)}
        used = set()
        for name in [name for name in entries if name.endswith(".json")]:
            result = self._results.get(name.removesuffix(".json")) or _read_record(self._folder / name)
            if result is not None and _length(self._body_path(result)) == result.bytes:
                complete.append(result)
                used |= {name, self._body_path(result).name}
        _remove_stale(entries[name] for name in entries.keys() - used)
        return sorted(complete, key=lambda result: result.created_s)


def _remove_stale(entries: Iterable[os.DirEntry[str]]) -> None:
    for entry in entries:
        # Another process may still be writing a young file.
        with contextlib.suppress(OSError):
            if time.time() - entry.stat().st_mtime > STALE_PART_S:
                Path(entry.path).unlink()


def is_expired(result: StoredResult, now: float) -> bool:
    """True if the result has expired at the Unix time `now`, in seconds."""
    return result.expires_s is not None and result.expires_s <= now


def encode_record(result: StoredResult) -> bytes:
    """The record of a result as JSON."""
    members = {
        "id": result.id,
        "format": result.format.value,
        "bytes": result.bytes,
        "owner": result.owner,
        "created_s": result.created_s,
        "expires_s": result.expires_s,
        "comment": result.comment,
    }
    return json.dumps(members).encode("ascii")


def _read_record(path: Path) -> StoredResult | None:
    """The result that a record file describes; None if the file is absent or not valid."""
    try:
        return decode_record(path.stem, path.read_bytes())
    except OSError:
        return None


def decode_record(media_id: str, text: bytes) -> StoredResult | None:
    """The result that a record describes; None if the record is not valid."""
    try:
        fields = json.loads(text)
        return StoredResult(
            id=media_id,
            format=Format(fields["format"]),
            bytes=int(fields["bytes"]),
            owner=str(fields["owner"]),
            created_s=float(fields["created_s"]),
            expires_s=None if fields["expires_s"] is None else float(fields["expires_s"]),
            comment=str(fields["comment"]),
        )
    except (ValueError, KeyError, TypeError):
        return None


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def storage_full() -> Overloaded:
    return Overloaded("the storage for results is full", fix="request the image with blob=true", retry_after_s=60)
