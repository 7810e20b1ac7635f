"""Builds the cache that several servers share, and checks that it can be used."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from cropmark.config.settings import Settings
from cropmark.runtime.purge_log import PurgeHistory
from cropmark.server.errors import StartupError

if TYPE_CHECKING:
    from cropmark.caches.shared import SharedCache

# Imports inside functions: obstore is loaded for a shared cache only.

_FIX = "check shared_cache, its endpoint, and that the key may get, put, delete and list objects: docs/shared-cache.md"


def tier(settings: Settings, history: PurgeHistory) -> SharedCache | None:
    """The shared cache; None if it is not configured. Does not connect. Raises StartupError for an invalid URL."""
    if not settings.shared_cache:
        return None
    from cropmark.caches.shared import SharedCache  # noqa: PLC0415 - see above

    store = _store(settings)
    return SharedCache(
        store, read_s=settings.shared_cache_timeout_s, ttl_s=settings.shared_cache_ttl_s, history=history
    )


async def find_issue(settings: Settings) -> StartupError | None:
    """The reason why the shared cache cannot be used; None if it can. Writes, reads, lists and deletes one object."""
    from cropmark.caches.shared import TIMES  # noqa: PLC0415 - see above
    from cropmark.runtime.object_store import STORE_ERRORS, failure_reason  # noqa: PLC0415 - see above

    try:
        store = _store(settings)
    except StartupError as error:
        return error
    path = f"check/{secrets.token_hex(8)}"
    try:
        async with asyncio.timeout(TIMES.total_s):
            await asyncio.to_thread(_use, store, path)
    except STORE_ERRORS as error:
        return StartupError(f"shared_cache cannot be used: {failure_reason(error)}", _FIX)
    return None


def _use(store: Any, path: str) -> None:
    """Write, read, list and delete an object. Uses obstore's synchronous functions; sources.objects has the reason."""
    import obstore  # noqa: PLC0415 - see above

    obstore.put(store, path, b"cropmark")
    obstore.get(store, path).bytes()
    next(iter(obstore.list(store, "check")), None)
    obstore.delete(store, path)


def _store(settings: Settings) -> Any:
    from cropmark.caches.shared import TIMES  # noqa: PLC0415 - see above
    from cropmark.runtime.object_store import StoreUnusable, open_store  # noqa: PLC0415 - see above

    try:
        return open_store(settings.shared_cache, "shared_cache", TIMES, role=settings.allow_instance_credentials)
    except StoreUnusable as error:
        raise StartupError(error.what, error.fix) from error
