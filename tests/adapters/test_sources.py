"""Every Source keeps these promises: open() and glance() agree, whatever is missing is so in one way, purges count."""

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

BODY = b"\xff\xd8\xff\xe0 the picture"


@dataclass(frozen=True, slots=True)
class Shop:
    """A source with what a test needs of it: where BODY is kept, how it is replaced, and a place that is empty."""

    source: Source
    where: SourceRef
    nowhere: SourceRef
    replace: Callable[[bytes], None]


def folder(tmp_path: Path) -> Shop:
    file = tmp_path / "sky" / "blue.jpg"
    file.parent.mkdir()
    file.write_bytes(BODY)

    def replace(body: bytes) -> None:
        (tmp_path / "new").write_bytes(body)
        (tmp_path / "new").rename(file)

    return Shop(FolderSource(tmp_path), SitePath("sky/blue.jpg"), SitePath("sky/none.jpg"), replace)


@pytest.fixture(params=[folder])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    make: Callable[[Path], Shop] = request.param
    return make(tmp_path)


def body_of(opened: OpenSource) -> bytes:
    return os.pread(opened.descriptor, opened.bytes + 1, 0)


async def test_an_opened_source_is_the_whole_of_it(shop: Shop) -> None:
    opened = await shop.source.open(shop.where)
    assert body_of(opened) == BODY
    assert opened.bytes == len(BODY)
    opened.close()


async def test_closing_closes_and_twice_is_once(shop: Shop) -> None:
    opened = await shop.source.open(shop.where)
    opened.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened.descriptor)
    other = os.open(os.devnull, os.O_RDONLY)  # takes the same number
    assert other == opened.descriptor
    opened.close()
    os.fstat(other)
    os.close(other)


async def test_a_renderer_gets_no_descriptor_it_was_not_given(shop: Shop) -> None:
    opened = await shop.source.open(shop.where)
    assert not os.get_inheritable(opened.descriptor)
    opened.close()


async def test_glance_and_open_tell_the_same_stamp(shop: Shop) -> None:
    opened = await shop.source.open(shop.where)
    opened.close()
    assert shop.source.stat(shop.where) in (opened.stamp, None)
    assert opened.stamp.identity == shop.source.identity(shop.where)


async def test_other_bytes_are_another_version_and_the_opened_ones_stay(shop: Shop) -> None:
    before = await shop.source.open(shop.where)
    shop.replace(BODY[::-1])
    after = await shop.source.open(shop.where)
    assert before.stamp.version != after.stamp.version
    assert before.stamp.identity == after.stamp.identity
    assert (body_of(before), body_of(after)) == (BODY, BODY[::-1])
    before.close()
    after.close()


async def test_what_is_not_there_is_missing(shop: Shop) -> None:
    with pytest.raises(SourceProblem):
        await shop.source.open(shop.nowhere)


async def generation(shop: Shop) -> int:
    opened = await shop.source.open(shop.where)
    opened.close()
    return opened.stamp.generation


async def test_each_purge_is_a_new_generation(shop: Shop) -> None:
    identity = shop.source.identity(shop.where)
    seen = [await generation(shop)]
    for prefix in (identity, identity[:-3], "", identity):
        shop.source.purge(prefix)
        seen.append(await generation(shop))
    assert seen == sorted(set(seen))


async def test_a_purge_of_others_leaves_it_as_it_is(shop: Shop) -> None:
    before = await generation(shop)
    shop.source.purge(shop.source.identity(shop.nowhere))
    assert await generation(shop) == before


async def test_no_number_of_purges_brings_a_generation_back(shop: Shop) -> None:
    identity = shop.source.identity(shop.where)
    seen = set()
    for n in range(300):
        shop.source.purge(identity)
        shop.source.purge(f"{identity}/other/{n}")
        found = await generation(shop)
        assert found not in seen
        seen.add(found)
