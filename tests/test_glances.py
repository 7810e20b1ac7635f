"""One look a turn of the loop; never a stamp that is older than the request."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from cropmark.glances import Glances
from cropmark.plan.source import SitePath, Where
from cropmark.ports import Stamp
from cropmark.problems import SourceMissing

BEACH, SKY = SitePath("beach.jpg"), SitePath("sky.jpg")


@dataclass(eq=False)
class Folder:
    """A source whose pictures have the version that stands beside their name; it counts who looks."""

    versions: dict[str, str]
    looks: list[str] = field(default_factory=list)

    def glance(self, where: Where) -> Stamp:
        assert isinstance(where, SitePath)
        self.looks.append(where.path)
        if where.path not in self.versions:
            raise SourceMissing("there is no such picture")
        return Stamp(where.path, self.versions[where.path])

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} is nothing that a glance needs")


async def test_one_look_a_turn() -> None:
    folder, glances = Folder({"beach.jpg": "1", "sky.jpg": "7"}), Glances()
    told = [glances.stamp(folder, where) for where in (BEACH, SKY, BEACH, BEACH)]
    assert [stamp.version for stamp in told if stamp] == ["1", "7", "1", "1"]
    assert folder.looks == ["beach.jpg", "sky.jpg"]


async def test_the_next_turn_looks_again() -> None:
    folder, glances = Folder({"beach.jpg": "1"}), Glances()
    glances.stamp(folder, BEACH)
    folder.versions["beach.jpg"] = "2"
    await asyncio.sleep(0)
    assert glances.stamp(folder, BEACH) == Stamp("beach.jpg", "2")


async def test_a_request_that_comes_after_the_look_has_its_own() -> None:
    """As the server puts requests into the loop's queue: while another is being answered, and behind it."""
    folder, glances = Folder({"beach.jpg": "1"}), Glances()
    told: list[str] = []

    def answered() -> None:
        stamp = glances.stamp(folder, BEACH)
        assert stamp is not None
        told.append(stamp.version)

    def replaced() -> None:
        folder.versions["beach.jpg"] = "2"
        asyncio.get_running_loop().call_soon(answered)

    asyncio.get_running_loop().call_soon(answered)
    asyncio.get_running_loop().call_soon(replaced)
    for _ in range(4):
        await asyncio.sleep(0)
    assert told == ["1", "2"]


async def test_a_purge_looks_again_at_once() -> None:
    folder, glances = Folder({"beach.jpg": "1"}), Glances()
    glances.stamp(folder, BEACH)
    folder.versions["beach.jpg"] = "2"
    glances.forget()
    assert glances.stamp(folder, BEACH) == Stamp("beach.jpg", "2")


async def test_sources_are_apart() -> None:
    one, other, glances = Folder({"beach.jpg": "1"}), Folder({"beach.jpg": "2"}), Glances()
    assert glances.stamp(one, BEACH) != glances.stamp(other, BEACH)


async def test_what_is_missing_stays_a_problem() -> None:
    folder, glances = Folder({}), Glances()
    for _ in range(2):
        with pytest.raises(SourceMissing, match="there is no such picture"):
            glances.stamp(folder, BEACH)
    assert folder.looks == ["beach.jpg", "beach.jpg"]
