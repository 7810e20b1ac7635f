"""Types that fetches from web origins and from buckets share: validators, responses, checks of bodies, concurrency."""

from __future__ import annotations

from asyncio import Semaphore, timeout
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

from cropmark.model.formats import sniff_format
from cropmark.model.media_types import media_type_of
from cropmark.model.problems import Overloaded, SourceTooLarge, SourceUnusable
from cropmark.sources.spool import Spool

NewSpool = Callable[[], Spool]


@dataclass(frozen=True, slots=True)
class Validators:
    """The ETag and Last-Modified of a stored original, for a conditional request.

    They are sent only to `final_url`, the URL that returned them.
    """

    final_url: str
    etag: str | None
    last_modified: str | None

    @property
    def headers(self) -> dict[str, str]:
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in headers.items() if value}


@dataclass(frozen=True, slots=True)
class OriginResponse:
    """The response of an origin, after redirects. A `body` of None means that the stored original is still current."""

    final_url: str
    headers: Mapping[str, str]
    body: Spool | None


@dataclass(frozen=True, slots=True)
class BodyRules:
    """The rules for the body of a response: its largest length, and the accepted types of files.

    If `images_only` is false, known file types other than images are accepted too.
    """

    limit_bytes: int
    images_only: bool

    def check_length(self, length: int) -> None:
        """Raise SourceTooLarge if the length exceeds the limit."""
        if length > self.limit_bytes:
            raise SourceTooLarge(
                f"the image is larger than the limit of {self.limit_bytes:,} bytes", fix="use a smaller image"
            )

    def check_head(self, name: str, head: bytes) -> None:
        """Raise SourceUnusable if the type of the file is not accepted.

        `head` has the first bytes of the file, `name` is its name.
        """
        if sniff_format(head) is None and (self.images_only or media_type_of(name, head) is None):
            raise SourceUnusable("the response is not an image of a supported format")


async def spool_body(pieces: AsyncIterator[bytes], name: str, rules: BodyRules, new_spool: NewSpool) -> Spool:
    """Write a body to a temporary file. The caller discards the returned Spool.

    `name` is the name of the requested file. The first piece must have at least SNIFF_BYTES, or be the whole body.
    Raises SourceTooLarge and SourceUnusable as soon as a piece violates the rules.
    """
    head = await anext(pieces, b"")
    rules.check_head(name, head)
    spool = new_spool()
    try:
        rules.check_length(len(head))
        spool.write(head)
        async for piece in pieces:
            rules.check_length(spool.bytes + len(piece))
            spool.write(piece)
    except BaseException:
        spool.discard()
        raise
    return spool


class ConcurrencyLimit:
    """Limits the number of concurrent fetches, in total and per host."""

    def __init__(self, total: int, per_host: int) -> None:
        self._all = Semaphore(total)
        self._per_host = per_host
        self._hosts: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def slot(self, host: str, wait_s: float) -> AsyncIterator[None]:
        """Hold a slot for one fetch during the block. Waits up to `wait_s` for a free slot, then raises Overloaded."""
        host_slots = self._hosts.get(host)
        if host_slots is None:
            host_slots = self._hosts[host] = Semaphore(self._per_host)
        # The host's slot first: requests that wait for a slow host must not occupy slots of all hosts.
        async with _acquired(host_slots, wait_s), _acquired(self._all, wait_s):
            yield


@asynccontextmanager
async def _acquired(semaphore: Semaphore, wait_s: float) -> AsyncIterator[None]:
    try:
        async with timeout(wait_s):
            await semaphore.acquire()
    except TimeoutError as error:
        raise Overloaded("too many images are being fetched", fix="try again later", retry_after_s=2) from error
    try:
        yield
    finally:
        semaphore.release()
