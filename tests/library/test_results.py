"""Stored results: complete or absent, with unguessable ids, until they expire."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cropmark.library.results import FolderResults, ResultLimits
from cropmark.model.formats import Format
from cropmark.model.problems import InternalError, Overloaded
from cropmark.ports import OpenSource, ResultStore, SourceVersion, StoredResult
from tests.builders import Clock

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(1000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Callable[..., FolderResults]:
    return lambda **limits: FolderResults(tmp_path / "results", ResultLimits(**limits), clock)


async def body_of(results: ResultStore, media_id: str) -> bytes | None:
    found = await results.open(media_id)
    if found is None:
        return None
    opened = found[1]
    try:
        return os.pread(opened.descriptor, opened.bytes, 0)
    finally:
        opened.close()


async def test_a_result_is_opened_by_its_id(make: Callable[..., FolderResults]) -> None:
    results = make(ttl_s=60)
    kept = await results.put(PICTURE, Format.PNG, "anna", "summer")
    assert await body_of(results, kept.id) == PICTURE
    assert (kept.format, kept.bytes, kept.owner, kept.comment) == (Format.PNG, 1008, "anna", "summer")
    assert kept.expires_s == kept.created_s + 60


async def test_an_open_file_is_stored_completely(make: Callable[..., FolderResults], tmp_path: Path) -> None:
    body = os.urandom(3 * 2**20 + 5)
    (tmp_path / "upload").write_bytes(body)
    with (tmp_path / "upload").open("rb") as file:
        opened = OpenSource(file.fileno(), len(body), SourceVersion("upload:1", "1"), lambda: None)
        kept = await make().put(opened, Format.JPEG, "anna")
    assert await body_of(make(), kept.id) == body


async def test_ids_have_at_least_128_random_bits_and_fit_a_url(make: Callable[..., FolderResults]) -> None:
    results = make()
    ids = {(await results.put(PICTURE, Format.PNG, "anna")).id for _ in range(50)}
    assert len(ids) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{24}", one) for one in ids)  # 6 bits a character: 144


NO_IDS = ["", "a", "../../../../etc/passwd", "A" * 23 + "/", "A" * 24, "A" * 24 + ".json", "\0" * 24]


@pytest.mark.parametrize("media_id", NO_IDS)
async def test_an_invalid_id_finds_nothing(make: Callable[..., FolderResults], media_id: str) -> None:
    results = make()
    await results.put(PICTURE, Format.PNG, "anna")
    assert await results.open(media_id) is None


async def test_only_the_owner_deletes_a_result(make: Callable[..., FolderResults], tmp_path: Path) -> None:
    results = make()
    kept = await results.put(PICTURE, Format.PNG, "anna")
    assert not await results.delete(kept.id, "bert")
    assert await body_of(results, kept.id) == PICTURE
    assert await results.delete(kept.id, "anna")
    assert await results.open(kept.id) is None
    assert not await results.delete(kept.id, "anna")
    assert list((tmp_path / "results").iterdir()) == []


async def test_an_expired_result_is_not_opened_and_a_sweep_removes_its_files(
    make: Callable[..., FolderResults], clock: Clock, tmp_path: Path
) -> None:
    results = make(ttl_s=60)
    kept = await results.put(PICTURE, Format.PNG, "anna")
    clock.now += 59
    assert await results.open(kept.id) is not None
    clock.now += 1
    assert await results.open(kept.id) is None
    await results.sweep()
    assert list((tmp_path / "results").iterdir()) == []


async def test_without_a_ttl_results_do_not_expire(make: Callable[..., FolderResults], clock: Clock) -> None:
    results = make(ttl_s=0)
    kept = await results.put(PICTURE, Format.PNG, "anna")
    clock.now += 10 * 365 * 86_400
    await results.sweep()
    assert await body_of(results, kept.id) == PICTURE


async def test_a_restart_loses_nothing_and_the_sweep_continues(
    make: Callable[..., FolderResults], clock: Clock, tmp_path: Path
) -> None:
    first = make(ttl_s=60)
    early = await first.put(PICTURE, Format.PNG, "anna")
    clock.now += 30
    late = await first.put(PICTURE, Format.GIF, "anna")
    clock.now += 31  # `early` expires while no process runs
    again = make(ttl_s=5)  # a new TTL does not change stored results
    await again.sweep()
    assert await again.open(early.id) is None
    assert await body_of(again, late.id) == PICTURE
    assert len(again) == 1
    assert {path.name for path in (tmp_path / "results").iterdir()} == {f"{late.id}.gif", f"{late.id}.json"}


async def test_results_of_another_process_are_found(make: Callable[..., FolderResults]) -> None:
    one, other = make(), make()
    kept = await one.put(PICTURE, Format.PNG, "anna")
    assert await body_of(other, kept.id) == PICTURE
    assert await other.delete(kept.id, "anna")
    assert await one.open(kept.id) is None


async def test_the_oldest_are_removed_beyond_the_limit_of_bytes(
    make: Callable[..., FolderResults], clock: Clock
) -> None:
    results = make(bytes=3 * len(PICTURE))
    kept: list[StoredResult] = []
    for _ in range(5):
        clock.now += 1
        kept.append(await results.put(PICTURE, Format.PNG, "anna"))
    there = [await body_of(results, one.id) is not None for one in kept]
    assert there == [False, False, True, True, True]


async def test_the_oldest_are_removed_beyond_the_limit_of_entries(make: Callable[..., FolderResults]) -> None:
    results = make(entries=2)
    kept = [await results.put(b"GIF89a", Format.GIF, "anna") for _ in range(4)]
    assert [await body_of(results, one.id) is not None for one in kept] == [False, False, True, True]


async def test_a_smaller_limit_applies_immediately_after_a_restart(
    make: Callable[..., FolderResults], clock: Clock
) -> None:
    results = make()
    kept = []
    for _ in range(4):
        clock.now += 1
        kept.append(await results.put(PICTURE, Format.PNG, "anna"))
    smaller = make(bytes=2 * len(PICTURE))
    await smaller.sweep()
    assert [await body_of(smaller, one.id) is not None for one in kept] == [False, False, True, True]


async def test_a_result_larger_than_the_limit_is_rejected_and_evicts_nothing(
    make: Callable[..., FolderResults],
) -> None:
    results = make(bytes=2000)
    kept = await results.put(PICTURE, Format.PNG, "anna")
    with pytest.raises(Overloaded, match="storage for results is full"):
        await results.put(bytes(2001), Format.PNG, "anna")
    assert await body_of(results, kept.id) == PICTURE


async def test_a_folder_that_cannot_be_created_is_not_reported_as_full(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    results = FolderResults(tmp_path / "file" / "results", ResultLimits(ttl_s=60, bytes=2000))
    with pytest.raises(InternalError, match="could not be stored"):
        await results.put(PICTURE, Format.PNG, "anna")


async def test_a_full_disk_leaves_no_half_result(
    make: Callable[..., FolderResults], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    results = make()
    first = await results.put(PICTURE, Format.PNG, "anna")
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.suffix == ".json":
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(Overloaded):
        await results.put(PICTURE, Format.PNG, "anna")
    monkeypatch.undo()
    assert await results.open(first.id) is None  # gave its room
    assert list((tmp_path / "results").iterdir()) == []


DAMAGE: list[tuple[str, Callable[[Path, str], object]]] = [
    ("the body is cut short", lambda folder, one: (folder / f"{one}.png").write_bytes(PICTURE[:10])),
    ("the body is gone", lambda folder, one: (folder / f"{one}.png").unlink()),
    ("the record is cut short", lambda folder, one: (folder / f"{one}.json").write_text('{"id": "')),
    ("the record is of another kind", lambda folder, one: (folder / f"{one}.json").write_text("[]")),
]


@pytest.mark.parametrize(("how", "damage"), DAMAGE, ids=[how for how, _ in DAMAGE])
async def test_a_damaged_result_is_dropped_at_a_restart(
    make: Callable[..., FolderResults], tmp_path: Path, how: str, damage: Callable[[Path, str], object]
) -> None:
    kept = await make().put(PICTURE, Format.PNG, "anna")
    damage(tmp_path / "results", kept.id)
    again = make()
    await again.sweep()
    assert len(again) == 0
    assert await body_of(again, kept.id) is None


async def test_stale_unfinished_files_are_removed(make: Callable[..., FolderResults], tmp_path: Path) -> None:
    results = make()
    await results.put(PICTURE, Format.PNG, "anna")
    folder = tmp_path / "results"
    for name, age_s in (("part-old", 7200), ("part-young", 10), ("A" * 24 + ".png", 7200)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - age_s,) * 2)
    await results.sweep()
    assert [path.name for path in folder.iterdir() if path.read_bytes() == b"half"] == ["part-young"]


async def test_results_are_swept_periodically(tmp_path: Path, clock: Clock) -> None:
    results = await FolderResults.start(tmp_path / "results", ResultLimits(ttl_s=60), sweep_s=0.01, clock=clock)
    await results.put(PICTURE, Format.PNG, "anna")
    clock.now += 61
    async with asyncio.timeout(5):
        while list((tmp_path / "results").iterdir()):
            await asyncio.sleep(0.01)
    await results.close()


def test_a_killed_process_leaves_complete_results_only(tmp_path: Path) -> None:
    writer = (
        "import asyncio, sys; from pathlib import Path\n"
        "from cropmark.library.results import FolderResults; from cropmark.model.formats import Format\n"
        "async def main():\n"
        "    results = FolderResults(Path(sys.argv[1]))\n"
        "    while True:\n"
        "        await asyncio.gather(*(results.put(bytes([n]) * 300_000, Format.PNG, 'a') for n in range(8)))\n"
        "        print('stored', flush=True)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", writer, str(tmp_path / "results")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline() == b"stored\n"
        process.send_signal(signal.SIGKILL)
    asyncio.run(_all_whole(tmp_path / "results"))


async def _all_whole(folder: Path) -> None:
    results = FolderResults(folder)
    await results.sweep()
    assert len(results) >= 24
    for record in folder.glob("*.json"):
        body = await body_of(results, record.stem)
        assert body is not None
        assert body == body[:1] * 300_000
