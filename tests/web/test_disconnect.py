"""Work for a client that disconnects is cancelled; quick work is not watched."""

from __future__ import annotations

import asyncio

import pytest

from cropmark.web.request import WATCH_AFTER_S, ClientDisconnected, Message, unless_disconnected


async def test_quick_work_is_not_watched() -> None:
    async def receive() -> Message:
        raise AssertionError("asked for a disconnect")

    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    assert await unless_disconnected(receive, work()) == "done"


async def test_work_is_cancelled_when_its_client_disconnects() -> None:
    ended: list[str] = []

    async def receive() -> Message:
        await asyncio.sleep(WATCH_AFTER_S)
        return {"type": "http.disconnect"}

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cancelled")

    with pytest.raises(ClientDisconnected):
        await unless_disconnected(receive, work())
    assert ended == ["cancelled"]


async def test_a_client_that_is_gone_before_the_watch_begins() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(ClientDisconnected):
        await unless_disconnected(receive, asyncio.sleep(60))
