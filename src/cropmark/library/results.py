"""Results that were promised a link: each a file beside a small record, whole or not there, gone when their time is up.

A record is written when its body lies there under its name, and removed before it: what has a record can be served.
The index is in memory; what another process kept in the same folder is found by a look at the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import json
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import structlog

from cropmark.model.formats import TRAITS, Format
from cropmark.model.problems import InternalError, Overloaded
from cropmark.ports import OpenSource, SourceVersion, StoredResult

log = structlog.get_logger("cropmark.results")

WEEK_S: Final = 7 * 86_400.0
GIB: Final = 2**30
SWEEP_S: Final = 600.0
ID: Final = re.compile(r"[A-Za-z0-9_-]{24}")
"""144 random bits."""

_PART: Final = "part-"
DEAD_S: Final = 3600.0
"""Past this age a file that is unfinished or has no record is nobody's."""
_PIECE: Final = 2**20
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class FolderResults:
    """Implements ports.Results in a folder. The oldest go where there are too many bytes or files."""

    def __init__(
        self,
        folder: Path,
        *,
        lifetime_s: float = WEEK_S,
        limit_bytes: int = GIB,
        limit_entries: int = 100_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`lifetime_s` 0: until they are forgotten, or room is needed."""
        self._folder = folder
        self._lifetime_s = lifetime_s
        self._limit_bytes = limit_bytes
        self._limit_entries = limit_entries
        self._clock = clock
        self._kept: dict[str, StoredResult] = {}
        """By id, the oldest first."""
        self._bytes = 0
        self._sweeping: asyncio.Task[None] | None = None

    @classmethod
    async def opened(cls, folder: Path, *, sweep_s: float = SWEEP_S, **limits: Any) -> FolderResults:  # as __init__ has
        """The results in a folder, swept now and then; it is made with the first one that is kept."""
        results = cls(folder, **limits)
        await results._swept()
        results._sweeping = asyncio.create_task(results._swept_every(sweep_s))
        return results

    def __len__(self) -> int:
        return len(self._kept)

    async def put(self, body: bytes | OpenSource, kind: Format, owner: str, comment: str = "") -> StoredResult:
        length = len(body) if isinstance(body, bytes) else body.bytes
        now = self._clock()
        expires_s = now + self._lifetime_s if self._lifetime_s else None
        kept = StoredResult(secrets.token_urlsafe(18), kind, length, owner, now, expires_s, comment)
        await self._make_room(length)
        try:
            await asyncio.to_thread(self._write, kept, body)
        except OSError as error:
            log.warning("a result could not be kept", folder=str(self._folder), why=error.strerror)
            if error.errno in _FULL:
                await self._evict(self._bytes // 8, self._limit_entries)
                raise no_room() from error
            raise InternalError("the result could not be kept", fix="ask for it with blob=true") from error
        self._enter(kept)
        return kept

    async def open(self, media_id: str) -> tuple[StoredResult, OpenSource] | None:
        kept = await self._find(media_id)
        if kept is None:
            return None
        try:
            descriptor = os.open(self._body(kept), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._leave(media_id)  # another process removed it
            return None
        if os.fstat(descriptor).st_size != kept.bytes:
            os.close(descriptor)
            return None
        stamp = SourceVersion(f"result:{media_id}", media_id, versioned=True)
        return kept, OpenSource(descriptor, kept.bytes, stamp, io.FileIO(descriptor).close)

    async def delete(self, media_id: str, owner: str) -> bool:
        kept = await self._find(media_id)
        if kept is None or kept.owner != owner:
            return False
        await self._remove([kept])
        return True

    async def sweep(self) -> None:
        """Look at the folder: learn of what others kept, remove what is past its time, and what nobody finished."""
        known = set(self._kept)
        found = await asyncio.to_thread(self._found)
        for media_id in known - {kept.id for kept in found}:
            self._leave(media_id)
        for kept in found:
            self._enter(kept)
        now = self._clock()
        await self._remove([kept for kept in self._kept.values() if is_over(kept, now)])
        await self._make_room(0)

    async def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)

    async def _swept_every(self, pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s)
            await self._swept()

    async def _swept(self) -> None:
        try:
            await self.sweep()
        except FileNotFoundError:
            return  # nothing was kept yet
        except OSError as error:
            log.warning("the results could not be swept", why=error.strerror)

    # ------------------------------------------------------------------------------------------ index

    async def _find(self, media_id: str) -> StoredResult | None:
        if ID.fullmatch(media_id) is None:
            return None
        kept = self._kept.get(media_id)
        if kept is None:
            kept = await asyncio.to_thread(_read, self._record(media_id))
        return None if kept is None or is_over(kept, self._clock()) else kept

    def _enter(self, kept: StoredResult) -> None:
        if kept.id not in self._kept:
            self._kept[kept.id] = kept
            self._bytes += kept.bytes

    def _leave(self, media_id: str) -> None:
        kept = self._kept.pop(media_id, None)
        if kept is not None:
            self._bytes -= kept.bytes

    async def _make_room(self, length: int) -> None:
        """Raises Overloaded where the room is less than that."""
        if length > self._limit_bytes:
            raise no_room()
        await self._evict(self._bytes + length - self._limit_bytes, self._limit_entries - bool(length))

    async def _evict(self, least_bytes: int, most_entries: int) -> None:
        """Remove the oldest, until so many bytes are free and so many entries left."""
        going: list[StoredResult] = []
        for kept in self._kept.values():
            if least_bytes <= 0 and len(self._kept) - len(going) <= most_entries:
                break
            going.append(kept)
            least_bytes -= kept.bytes
        await self._remove(going)

    async def _remove(self, going: list[StoredResult]) -> None:
        for kept in going:
            self._leave(kept.id)
        if going:
            await asyncio.to_thread(self._unlink, going)

    # ------------------------------------------------------------------------------------------ disk, in threads

    def _body(self, kept: StoredResult) -> Path:
        return self._folder / f"{kept.id}.{TRAITS[kept.format].extension}"

    def _record(self, media_id: str) -> Path:
        return self._folder / f"{media_id}.json"

    def _write(self, kept: StoredResult, body: bytes | OpenSource) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._write_as(self._body(kept), _pieces(body))
            self._write_as(self._record(kept.id), iter([record_of(kept)]))
        except OSError:
            with contextlib.suppress(OSError):
                self._body(kept).unlink(missing_ok=True)
            raise

    def _write_as(self, path: Path, pieces: Iterator[bytes]) -> None:
        """A whole file, or none."""
        descriptor, part = tempfile.mkstemp(prefix=_PART, dir=self._folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(pieces)
            Path(part).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(part).unlink(missing_ok=True)
            raise

    def _unlink(self, going: list[StoredResult]) -> None:
        for kept in going:
            with contextlib.suppress(OSError):
                self._record(kept.id).unlink(missing_ok=True)
                self._body(kept).unlink(missing_ok=True)

    def _found(self) -> list[StoredResult]:
        """All that is whole, the oldest first; what is not, and old, is removed."""
        found: list[StoredResult] = []
        names = {entry.name: entry for entry in os.scandir(self._folder)}
        bodies = set()
        for name in [name for name in names if name.endswith(".json")]:
            kept = self._kept.get(name.removesuffix(".json")) or _read(self._folder / name)
            if kept is not None and _length(self._body(kept)) == kept.bytes:
                found.append(kept)
                bodies.add(self._body(kept).name)
                bodies.add(name)
        self._tidy(names[name] for name in names.keys() - bodies)
        return sorted(found, key=lambda kept: kept.created_s)

    def _tidy(self, strays: Iterator[os.DirEntry[str]]) -> None:
        for stray in strays:
            # Young ones may be another process's, about to be finished.
            with contextlib.suppress(OSError):
                if time.time() - stray.stat().st_mtime > DEAD_S:
                    Path(stray.path).unlink()


def is_over(kept: StoredResult, now: float) -> bool:
    """Whether its time is up."""
    return kept.expires_s is not None and kept.expires_s <= now


def _pieces(body: bytes | OpenSource) -> Iterator[bytes]:
    if isinstance(body, bytes):
        yield body
        return
    for at in range(0, body.bytes, _PIECE):
        yield os.pread(body.descriptor, min(_PIECE, body.bytes - at), at)


def record_of(kept: StoredResult) -> bytes:
    """What is written beside a body."""
    members = {
        "id": kept.id,
        "format": kept.format.value,
        "bytes": kept.bytes,
        "owner": kept.owner,
        "made_s": kept.created_s,
        "expires_s": kept.expires_s,
        "comment": kept.comment,
    }
    return json.dumps(members).encode("ascii")


def _read(path: Path) -> StoredResult | None:
    """The record in a file; None for what is none."""
    try:
        return read_record(path.stem, path.read_bytes())
    except OSError:
        return None


def read_record(media_id: str, text: bytes) -> StoredResult | None:
    """None for what is no record."""
    try:
        told = json.loads(text)
        return StoredResult(
            id=media_id,
            format=Format(told["format"]),
            bytes=int(told["bytes"]),
            owner=str(told["owner"]),
            created_s=float(told["made_s"]),
            expires_s=None if told["expires_s"] is None else float(told["expires_s"]),
            comment=str(told["comment"]),
        )
    except (ValueError, KeyError, TypeError):
        return None


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def no_room() -> Overloaded:
    return Overloaded("there is no room to keep the result", fix="ask for it with blob=true", retry_after_s=60)
