"""Sends purges to a CDN in the background: of keys, of a URL, or of everything.

Purges wait in an outbox, so that a restart does not lose them. A failed request is repeated after a pause, which
doubles each time. A request that the CDN rejects as malformed is logged and dropped.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import quote

import aiohttp
import structlog

from cropmark.fleet.outbox import Outbox, message_name
from cropmark.runtime.metrics import Sample

log = structlog.get_logger("cropmark.fleet")

FASTLY_API: Final = "https://api.fastly.com"
CLOUDFLARE_API: Final = "https://api.cloudflare.com/client/v4"
_FASTLY_KEYS: Final = 256
_CLOUDFLARE_KEYS: Final = 30
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 300.0
_MALFORMED: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY})


@dataclass(frozen=True, slots=True)
class CdnMessage:
    """A purge for a CDN: of the responses with one of the keys, of an absolute URL, or of everything."""

    keys: tuple[str, ...] = ()
    url: str = ""
    everything: bool = False
    soft: bool = False


@dataclass(frozen=True, slots=True)
class CdnRequest:
    """A POST request to the API of a CDN."""

    url: str
    headers: Mapping[str, str]
    body: Mapping[str, Any] | None = None


class Cdn(Protocol):
    """Translates purges into requests to the API of one CDN."""

    def requests(self, message: CdnMessage) -> Iterator[CdnRequest]: ...


@dataclass(frozen=True, slots=True)
class Fastly:
    """Fastly's API. Source: https://www.fastly.com/documentation/reference/api/purging/"""

    service: str
    token: str
    api: str = FASTLY_API

    def requests(self, message: CdnMessage) -> Iterator[CdnRequest]:
        headers = {"Fastly-Key": self.token, "Accept": "application/json"}
        service = f"{self.api}/service/{quote(self.service, safe='')}"
        if message.everything:  # Fastly has no soft form of purge_all
            yield CdnRequest(f"{service}/purge_all", headers)
            return
        if message.soft:
            headers["Fastly-Soft-Purge"] = "1"
        if message.url:
            yield CdnRequest(f"{self.api}/purge/{message.url.partition('://')[2]}", headers)
        for start in range(0, len(message.keys), _FASTLY_KEYS):
            keys = list(message.keys[start : start + _FASTLY_KEYS])
            yield CdnRequest(f"{service}/purge", headers, {"surrogate_keys": keys})


@dataclass(frozen=True, slots=True)
class Cloudflare:
    """Cloudflare's API. Source: https://developers.cloudflare.com/api/resources/cache/methods/purge/"""

    zone: str
    token: str
    api: str = CLOUDFLARE_API

    def requests(self, message: CdnMessage) -> Iterator[CdnRequest]:
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"{self.api}/zones/{quote(self.zone, safe='')}/purge_cache"
        if message.everything:
            yield CdnRequest(url, headers, {"purge_everything": True})
        if message.url:
            yield CdnRequest(url, headers, {"files": [message.url]})
        for start in range(0, len(message.keys), _CLOUDFLARE_KEYS):
            yield CdnRequest(url, headers, {"tags": list(message.keys[start : start + _CLOUDFLARE_KEYS])})


class CdnPurger:
    """Sends purges to a CDN, in a background task."""

    def __init__(self, cdn: Cdn, outbox: Outbox, *, first_pause_s: float = _FIRST_PAUSE_S) -> None:
        self._cdn = cdn
        self._outbox = outbox
        self._first_pause_s = first_pause_s
        self._added = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.errors = 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def add(self, message: CdnMessage) -> None:
        """Store a purge in the outbox, from which the background task sends it."""
        await asyncio.to_thread(self._outbox.add, message_name(), asdict(message))
        self._added.set()

    def samples(self) -> Iterator[Sample]:
        yield "cropmark_cdn_purges_waiting", (), len(self._outbox)
        yield "cropmark_cdn_errors_total", (), self.errors

    async def _run(self) -> None:
        pause_s = self._first_pause_s
        async with aiohttp.ClientSession(timeout=_TIMEOUT, trust_env=True) as session:
            while True:
                self._added.clear()
                if await self._send_all(session):
                    pause_s = self._first_pause_s
                    await self._added.wait()
                else:
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _send_all(self, session: aiohttp.ClientSession) -> bool:
        """Send all waiting purges. At the first failed request, stop and return False."""
        for name in self._outbox.names():
            if self._outbox.is_of_another_process(name) or (fields := self._outbox.read(name)) is None:
                continue
            try:
                message = CdnMessage(**{**fields, "keys": tuple(fields["keys"])})
            except (TypeError, KeyError):
                self._outbox.remove(name)
                continue
            for request in self._cdn.requests(message):
                if not await self._send(session, request):
                    return False
            self._outbox.remove(name)
        return True

    async def _send(self, session: aiohttp.ClientSession, request: CdnRequest) -> bool:
        """Send a request. Returns False if it must be repeated; True if the CDN accepted it or rejected it for good."""
        headers = {**request.headers, "Content-Type": "application/json"}
        body = None if request.body is None else json.dumps(request.body)
        try:
            async with session.post(request.url, data=body, headers=headers, allow_redirects=False) as response:
                status, text = response.status, (await response.content.read(500)).decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            status, text = 0, type(error).__name__
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return True
        self.errors += 1
        if status in _MALFORMED:
            log.error("the CDN rejected a purge", status=status, response=text)
            return True
        log.warning("the CDN could not be purged; it is tried again", status=status, response=text)
        return False
