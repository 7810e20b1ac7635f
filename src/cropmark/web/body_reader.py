"""Reads a request's body in pieces, with a limit on its size and on the time between two pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from cropmark.model.problems import BadRequest, Problem
from cropmark.web.request import ClientDisconnected, Receive

IDLE_S: Final = 15.0
"""Longest time between two pieces of a body."""


async def page_body(receive: Receive, limit_bytes: int, too_large: Problem) -> AsyncGenerator[bytes, None]:
    """The pieces of the body of a request for a page, as they arrive.

    Raises `too_large` above `limit_bytes`, ClientDisconnected, and BadRequest after IDLE_S without a piece.
    """
    try:
        async for piece in body_pieces(receive, limit_bytes, too_large):
            yield piece
    except TimeoutError as error:
        raise BadRequest("the body of the request arrived too slowly", fix="send it faster") from error


async def body_pieces(receive: Receive, limit_bytes: int, too_large: Problem) -> AsyncGenerator[bytes, None]:
    """The pieces of a request's body, as they arrive.

    Raises `too_large` above `limit_bytes`, ClientDisconnected, and TimeoutError after IDLE_S without a piece.
    """
    length, more = 0, True
    while more:
        async with asyncio.timeout(IDLE_S):
            message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        piece = message.get("body", b"")
        more = message.get("more_body", False)
        length += len(piece)
        if length > limit_bytes:
            raise too_large
        yield piece
