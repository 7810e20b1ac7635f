"""Locks that prevent two servers from rendering the same image at the same time.

One server renders the image, and the other servers wait for the result in the shared cache. A lock ends after LOCK_S at
the latest, so a server that dies does not block the others. While Redis does not respond, renders do not wait.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Final

from cachetools import TTLCache

from cropmark.fleet.link import RedisAway, RedisLink
from cropmark.ports import Digest

LOCK_S: Final = 5.0
"""Time after which a lock ends. If a render takes longer, another server may render the image, too."""
_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 0.1

_ENDED: Final = "ended"
"""The value of a released lock. A server that looked into the cache before the release must look again."""
_HELD: Final = 0
_RECENT: Final = 2
_ACQUIRE: Final = f"""
local value = redis.call('get', KEYS[1])
if value == '{_ENDED}' and ARGV[3] == '0' then return {_RECENT} end
if value and value ~= '{_ENDED}' then return {_HELD} end
redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_RELEASE: Final = f"""
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('set', KEYS[1], '{_ENDED}', 'PX', ARGV[2])
"""


class RedisLocks:
    """Locks for renders, stored in Redis. Implements ports.RenderLocks."""

    tier: Final = "shared"

    def __init__(self, link: RedisLink, lock_s: float = LOCK_S) -> None:
        self._link = link
        self.longest_wait_s = lock_s
        self._ended: TTLCache[Digest, bool] = TTLCache(4096, lock_s)
        """Keys of ended locks that this server knows. Before it acquires such a lock again, it looks into the cache."""

    async def acquire(self, key: Digest) -> str | None:
        """Acquire the lock for `key`, and return the token for release(); empty if Redis does not respond.

        Returns None if another server has the lock, or has just released it: then the image may be in the cache, and
        the caller must look there first.
        """
        token = secrets.token_hex(8)
        is_known = key in self._ended
        self._ended.pop(key, None)
        arguments = (_name(key), token, int(self.longest_wait_s * 1000), int(is_known))
        try:
            found = await self._link.call(lambda redis: redis.eval(_ACQUIRE, 1, *arguments))
        except RedisAway:
            return ""
        if found == _RECENT:
            self._ended[key] = True
        return None if found in (_HELD, _RECENT) else token

    async def wait(self, key: Digest, until_s: float) -> None:
        if key in self._ended:
            return
        pause_s = _FIRST_PAUSE_S
        while time.monotonic() < until_s:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
            try:
                value = await self._link.call(lambda redis: redis.get(_name(key)))
                if value in (None, _ENDED):
                    self._ended[key] = True
                    return
            except RedisAway:
                return

    async def release(self, key: Digest, token: str) -> None:
        ms = int(self.longest_wait_s * 1000)
        try:
            await self._link.call(lambda redis: redis.eval(_RELEASE, 1, _name(key), token, ms))
        except RedisAway:
            return  # the lock ends after its fixed time


def _name(key: Digest) -> str:
    return f"cropmark:render:{key}"
