"""The behavior of every Source: stat() and open() agree, missing sources raise, purges change the generation."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import LocalStore, MemoryStore

from cropmark.model.problems import SourceProblem
from cropmark.plan.source import SitePath, SourceRef
from cropmark.ports import OpenSource, Source
from cropmark.runtime.object_store import open_store
from cropmark.sources.files import FolderSource
from cropmark.sources.freshness import LifetimeBounds
from cropmark.sources.objects import BucketLimits, BucketPlace, ObjectSource
from cropmark.sources.original_cache import OriginalCache
from tests.s3_server import BUCKET, S3Server

BODY = b"\xff\xd8\xff\xe0 the image"
CHANGED = BODY + b", changed"
ALWAYS_CONDITIONAL = LifetimeBounds(minimum_s=0, maximum_s=0, stale_while_revalidate_s=0)


@dataclass(frozen=True, slots=True)
class SourceUnderTest:
    """A source, a reference to BODY, a reference to nothing, and a function that replaces BODY."""

    source: Source
    existing: SourceRef
    missing: SourceRef
    replace: Callable[[bytes], None]


def folder(tmp_path: Path) -> SourceUnderTest:
    file = tmp_path / "sky" / "blue.jpg"
    file.parent.mkdir()
    file.write_bytes(BODY)

    def replace(body: bytes) -> None:
        (tmp_path / "new").write_bytes(body)
        (tmp_path / "new").rename(file)

    return SourceUnderTest(FolderSource(tmp_path), SitePath("sky/blue.jpg"), SitePath("sky/none.jpg"), replace)


def bucket(store: Any, tmp_path: Path) -> SourceUnderTest:
    """A bucket that is asked at every open whether the object has changed."""
    prefix = f"shop/{tmp_path.name}"

    def replace(body: bytes) -> None:
        obstore.put(store, f"{prefix}/sky/blue.jpg", body)

    replace(BODY)
    originals = OriginalCache(tmp_path / "originals")
    source = ObjectSource(store, BucketPlace("s3:pictures", prefix, ""), originals, bounds=ALWAYS_CONDITIONAL)
    return SourceUnderTest(source, SitePath("sky/blue.jpg"), SitePath("sky/none.jpg"), replace)


def bucket_in_memory(tmp_path: Path) -> SourceUnderTest:
    return bucket(MemoryStore(), tmp_path)


def bucket_in_a_folder(tmp_path: Path) -> SourceUnderTest:
    return bucket(LocalStore(tmp_path / "bucket", mkdir=True), tmp_path)


@pytest.fixture(params=[folder, bucket_in_memory, bucket_in_a_folder, "s3"])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SourceUnderTest]:
    make: Callable[[Path], SourceUnderTest] | str = request.param
    if isinstance(make, str):
        server: S3Server = request.getfixturevalue("s3")
        found = bucket(open_store(f"s3://{BUCKET}", "source", BucketLimits().times, options=server.options), tmp_path)
    else:
        found = make(tmp_path)
    yield found
    await found.source.close()


def body_of(opened: OpenSource) -> bytes:
    return os.pread(opened.descriptor, opened.bytes + 1, 0)


async def test_an_open_source_has_the_whole_body(subject: SourceUnderTest) -> None:
    opened = await subject.source.open(subject.existing)
    assert body_of(opened) == BODY
    assert opened.bytes == len(BODY)
    opened.close()


async def test_close_may_be_called_twice(subject: SourceUnderTest) -> None:
    opened = await subject.source.open(subject.existing)
    opened.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened.descriptor)
    others = [os.open(os.devnull, os.O_RDONLY)]
    while others[-1] != opened.descriptor:  # until one gets the same number
        others.append(os.open(os.devnull, os.O_RDONLY))
    opened.close()
    for other in others:
        os.fstat(other)
        os.close(other)


async def test_descriptors_are_not_inherited(subject: SourceUnderTest) -> None:
    opened = await subject.source.open(subject.existing)
    assert not os.get_inheritable(opened.descriptor)
    opened.close()


async def test_stat_and_open_return_the_same_version(subject: SourceUnderTest) -> None:
    opened = await subject.source.open(subject.existing)
    opened.close()
    assert subject.source.stat(subject.existing) in (opened.version, None)
    assert opened.version.identity == subject.source.identity(subject.existing)


async def test_new_bytes_have_a_new_version_and_an_open_source_keeps_its_own(subject: SourceUnderTest) -> None:
    before = await subject.source.open(subject.existing)
    subject.replace(CHANGED)
    after = await subject.source.open(subject.existing)
    assert before.version.version != after.version.version
    assert before.version.identity == after.version.identity
    assert (body_of(before), body_of(after)) == (BODY, CHANGED)
    before.close()
    after.close()


async def test_a_missing_source_raises(subject: SourceUnderTest) -> None:
    with pytest.raises(SourceProblem):
        await subject.source.open(subject.missing)


async def generation(subject: SourceUnderTest) -> int:
    opened = await subject.source.open(subject.existing)
    opened.close()
    return opened.version.generation


async def test_each_purge_is_a_new_generation(subject: SourceUnderTest) -> None:
    identity = subject.source.identity(subject.existing)
    seen = [await generation(subject)]
    for prefix in (identity, identity[:-3], "", identity):
        subject.source.purge(prefix)
        seen.append(await generation(subject))
    assert seen == sorted(set(seen))


async def test_a_purge_of_another_source_changes_nothing(subject: SourceUnderTest) -> None:
    before = await generation(subject)
    subject.source.purge(subject.source.identity(subject.missing))
    assert await generation(subject) == before


async def test_a_generation_never_occurs_twice(subject: SourceUnderTest) -> None:
    identity = subject.source.identity(subject.existing)
    seen = set()
    for n in range(300):
        subject.source.purge(identity)
        subject.source.purge(f"{identity}/other/{n}")
        current = await generation(subject)
        assert current not in seen
        seen.add(current)
