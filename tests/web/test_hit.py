"""The path of cache hits: its memo of parsed requests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.fastly.dialect import Fastly
from tests.web.asgi_client import FakePipeline, app_of, request


def test_unknown_types_in_accept_take_no_entries_of_the_memo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every spelling of Accept that means the same is parsed once."""
    parsed, order = 0, Fastly.order

    def counted(self: Fastly, asked: ImageRequest) -> Any:
        nonlocal parsed
        parsed += 1
        return order(self, asked)

    monkeypatch.setattr(Fastly, "order", counted)
    app = app_of(FakePipeline())

    async def ask() -> None:
        for number in range(300):
            accept = f"image/x-{number},image/webp;q=0.{number}".encode()
            headers = [(b"host", b"img.example"), (b"accept", accept)]
            assert (await request(app, b"/fastly/a.jpg?width=10", headers=headers)).status == 200

    asyncio.run(ask())
    assert 1 <= parsed <= 2  # q=0 excludes WebP
