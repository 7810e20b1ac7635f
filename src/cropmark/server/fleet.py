"""Builds the objects that purge all fronts of a host, all servers that share a Redis, and the CDN."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from cropmark.config.paths import data_folder
from cropmark.config.settings import Settings
from cropmark.fleet.outbox import Outbox
from cropmark.fleet.siblings import Handler, Message, Siblings
from cropmark.model.problems import InternalError
from cropmark.ports import Purge, PurgeKind, PurgeResult
from cropmark.runtime.purge_log import Position
from cropmark.server.components import Components
from cropmark.server.errors import StartupError
from cropmark.server.fronts import drop_originals, position_file
from cropmark.web.admin_context import Purges
from cropmark.web.purge_keys import cdn_purge
from cropmark.web.purges import SitePurger
from cropmark.web.site import Sites

PurgeCdn = Callable[[Purge], Awaitable[None]]

if TYPE_CHECKING:
    from cropmark.fleet.link import RedisLink


async def open_purges(parts: Components, sites: Sites, stack: AsyncExitStack) -> Purges:
    """The object that carries out purges: first on all servers that share the Redis, if any, and then on the CDN.

    Without a Redis, it purges only this server. `stack` will close it. Raises StartupError for an incomplete
    configuration of the CDN.
    """
    own = SitePurger(sites, parts.pipeline, parts.originals.purge_key)
    hook = _open_cdn(parts, sites, own, stack)
    purger: SitePurger | HostPurger = own
    if parts.siblings is not None:
        purger = HostPurger(own, parts.siblings, parts.settings)
        parts.answers.update(purger.answers)
    if parts.link is None:
        return purger if hook is None else _WithCdn(purger, hook)
    bus = await _open_bus(parts, parts.link, purger, stack, hook)
    return bus if hook is None else _WithCdn(bus, hook)


class _WithCdn:
    """Purges the servers first, and then the CDN.

    In the other order, the CDN could fetch old images from the servers again.
    """

    def __init__(self, servers: Purges, purge_cdn: PurgeCdn) -> None:
        self._servers = servers
        self._purge_cdn = purge_cdn

    async def purge(self, purge: Purge) -> PurgeResult:
        result = await self._servers.purge(purge)
        await self._purge_cdn(purge)
        return result


class HostPurger:
    """Carries out purges on all fronts of this host, which share the disk cache.

    First all fronts forget the purged images in memory and finish their writes. Then all fronts purge the disk. So no
    front can read a purged file that another front wrote in between. A purge from the stream of all servers is carried
    out by each front separately, when the front reads it.
    """

    def __init__(self, own: SitePurger, siblings: Siblings, settings: Settings) -> None:
        self._own = own
        self._settings = settings
        self._siblings = siblings
        self.answers: Mapping[str, Handler] = {"forget": self._forget, "purge": self._purge}

    async def purge(self, purge: Purge) -> PurgeResult:
        return PurgeResult(await self.apply(purge))

    async def apply(self, purge: Purge, at: Position | None = None, *, own_only: bool = False) -> int:
        """Carry out a purge on all fronts, and return the number of purged entries.

        If `at` gives a position in the stream of all servers' purges, only this front is purged. Raises InternalError
        if a front did not carry out the purge.
        """
        if at is not None:
            return await self._own.apply(purge, at, own_only=own_only)
        self._own.tags(purge)  # an invalid purge is not sent
        message = {"kind": purge.kind.value, "value": purge.value, "soft": purge.soft}
        first, _ = await asyncio.gather(self._siblings.ask_all("forget", message), self._own.forget(purge))
        for answer in first:
            if "absent" in answer:
                await self._drop_originals(int(answer["absent"]))
        count = await self._own.apply(purge, own_only=own_only)
        second = await self._siblings.ask_all("purge", message)
        if failed := next((answer["error"] for answer in (*first, *second) if "error" in answer), None):
            raise InternalError(f"a front did not carry out the purge: {failed}", fix="purge again; see the log")
        return max([count, *(int(answer["purged"]) for answer in second if "purged" in answer)])

    async def _drop_originals(self, number: int) -> None:
        """Remove the cached originals of another front, which has ended or does not listen yet. Raises InternalError.

        A front that is starting may have listed the removed originals already. It then fetches them again.
        """
        try:
            await asyncio.to_thread(drop_originals, self._settings, number)
        except OSError as error:
            message = f"the originals of front {number} could not be removed: {error.strerror}"
            raise InternalError(message, fix="purge again; see the log") from error

    async def drop_own(self) -> None:
        await self._own.drop_own()

    def tags(self, purge: Purge) -> Sequence[str]:
        return self._own.tags(purge)

    async def _forget(self, message: Message) -> Message:
        await self._own.forget(_read(message))
        return {}

    async def _purge(self, message: Message) -> Message:
        return {"purged": await self._own.apply(_read(message), own_only=True)}


def _read(message: Message) -> Purge:
    return Purge(PurgeKind(message["kind"]), str(message["value"]), bool(message["soft"]))


async def _open_bus(
    parts: Components, link: RedisLink, purger: SitePurger | HostPurger, stack: AsyncExitStack, hook: PurgeCdn | None
) -> Purges:
    from cropmark.fleet.bus import PurgeBus  # noqa: PLC0415 - the Redis client is loaded for redis_url only

    outbox = Outbox(data_folder(parts.settings) / "outbox" / "purges")
    file = position_file(parts.settings, 0 if parts.siblings is None else parts.siblings.number)
    # A purge that reaches other servers later has to reach the CDN again, which may have fetched old images from them.
    bus = PurgeBus(link, purger, parts.history, outbox, file, on_sent_later=hook)
    await bus.start()
    stack.push_async_callback(bus.close)
    stack.callback(parts.metrics.read_from(bus, bus.samples))
    return bus


def _open_cdn(parts: Components, sites: Sites, purger: SitePurger, stack: AsyncExitStack) -> PurgeCdn | None:
    """A function that sends purges to the CDN; None if no CDN is configured. Raises StartupError."""
    settings = parts.settings
    if settings.cdn == "off":
        return None
    if not settings.cdn_id or settings.cdn_token is None:
        raise StartupError("cdn needs cdn_id and cdn_token", "set CROPMARK_CDN_ID and CROPMARK_CDN_TOKEN")
    if not any(site.key_header for site in sites):
        raise StartupError(
            "cdn needs key_header, because the CDN purges by the keys in this header",
            'set key_header = "surrogate-key"',
        )
    from cropmark.fleet import cdn  # noqa: PLC0415 - loaded for a CDN only

    token = settings.cdn_token.get_secret_value()
    api = settings.cdn_api_url.rstrip("/")
    if settings.cdn == "fastly":
        vendor: cdn.Cdn = cdn.Fastly(settings.cdn_id, token, api or cdn.FASTLY_API)
    else:
        vendor = cdn.Cloudflare(settings.cdn_id, token, api or cdn.CLOUDFLARE_API)
    sender = cdn.CdnPurger(vendor, Outbox(data_folder(settings) / "outbox" / "cdn"))
    sender.start()
    stack.push_async_callback(sender.close)
    stack.callback(parts.metrics.read_from(sender, sender.samples))

    async def purge(one: Purge) -> None:
        found = cdn_purge(one, purger.targets(one))
        url = urljoin(f"{parts.base_url}/", found.path) if found.path else ""
        await sender.add(cdn.CdnMessage(found.keys, url, found.everything, found.soft))

    return purge
