"""The behavior of every Source: stat() and open() agree, missing sources raise, purges change the generation."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cropmark.model.problems import SourceProblem
from cropmark.plan.source import SitePath, SourceRef
from cropmark.ports import OpenSource, Source
from cropmark.sources.files import FolderSource

BODY = b"\xff\xd8\xff\xe0 the image"


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


@pytest.fixture(params=[folder])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> SourceUnderTest:
    make: Callable[[Path], SourceUnderTest] = request.param
    return make(tmp_path)


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
    other = os.open(os.devnull, os.O_RDONLY)  # gets the same number
    assert other == opened.descriptor
    opened.close()
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
    subject.replace(BODY[::-1])
    after = await subject.source.open(subject.existing)
    assert before.version.version != after.version.version
    assert before.version.identity == after.version.identity
    assert (body_of(before), body_of(after)) == (BODY, BODY[::-1])
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
