"""Serves images from a bucket. An image is fetched by one conditional GET, and stored like an original from the web.

- A path is appended to the prefix and never leaves it: empty, `.` and `..` segments are rejected as not found.
- The client retries throttled and failed requests, with pauses that double, within the time limit of the fetch.
- If the bucket refuses a request, the operator must fix credentials, region or name. The log has the fix, and a stale
  original may be sent.
- If the key may not list the bucket, the bucket also refuses requests for missing objects.
- The bucket is never listed. The Cache-Control of an object decides how long it is fresh, as for web origins.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from email.utils import format_datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import obstore
import structlog
from cachetools import LRUCache

from cropmark.model.formats import SNIFF_BYTES
from cropmark.model.problems import SourceFailed, SourceNotFound, SourceProblem, SourceTimeout, UnknownEncoding
from cropmark.plan.source import SitePath, SourceRef
from cropmark.ports import OpenSource, SourceVersion
from cropmark.runtime.object_store import STORE_ERRORS, Failure, StoreTimes, failure_of, failure_reason
from cropmark.sources.freshness import DEFAULT_BOUNDS, LifetimeBounds
from cropmark.sources.original_cache import OriginalCache
from cropmark.sources.remote import OnFetch, RemoteOriginals, Target, ignore_fetch
from cropmark.sources.transfer import (
    BodyRules,
    ConcurrencyLimit,
    NewSpool,
    OriginResponse,
    Validators,
    spool_body,
)

log = structlog.get_logger("cropmark.sources")

REFUSED_FIX: Final = (
    "check the bucket's name, region and endpoint, and that the key may get its objects; a key that may also list the "
    "bucket gets 404 for a missing object in place of 403"
)
_MAX_TARGETS: Final = 4096
_MAX_PATH_BYTES: Final = 1024
"""Longest key of an object in S3, GCS and Azure."""
_LOG_EVERY_S: Final = 60.0
_RETRIES: Final = 8
_UNENCODED: Final = frozenset({"", "identity", "aws-chunked"})


@dataclass(frozen=True, slots=True)
class BucketLimits:
    """Limits of fetches from a bucket: timeouts in seconds, the largest object in bytes, and concurrent requests."""

    connect_s: float = 3.0
    read_s: float = 5.0
    total_s: float = 8.0
    limit_bytes: int = 50 * 2**20
    concurrency: int = 8

    @property
    def times(self) -> StoreTimes:
        """The timeouts of the store's client. Its retries end before the time limit of the whole fetch.

        Otherwise a throttled fetch would be reported as a timeout.
        """
        retry_s, max_pause_s = self.total_s * 0.6, min(self.total_s / 8, 1.0)
        return StoreTimes(self.connect_s, self.read_s, self.total_s, _RETRIES, retry_s, max_pause_s)


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """The bucket and prefix of a source's images.

    `name`, such as `s3:bucket`, begins all identities. `prefix` neither begins nor ends with a slash. `scope` is a
    digest of all settings that decide which bytes a path has.
    """

    name: str
    prefix: str
    scope: str


class ObjectSource:
    """The Source of the images in a bucket. Raises the Problems of ports.Source."""

    def __init__(
        self,
        store: Any,  # obstore has a type for each kind of store
        place: BucketPlace,
        originals: OriginalCache,
        *,
        limits: BucketLimits = BucketLimits(),
        bounds: LifetimeBounds = DEFAULT_BOUNDS,
        clock: Callable[[], float] = time.time,
        on_fetch: OnFetch = ignore_fetch,
    ) -> None:
        self._place = place
        self._remote = RemoteOriginals(originals, bounds=bounds, clock=clock, on_fetch=on_fetch)
        self._fetcher = _ObjectFetcher(store, place.name, limits)
        self._targets: LRUCache[str, Target] = LRUCache(_MAX_TARGETS)

    def stat(self, ref: SourceRef) -> SourceVersion | None:
        """The version of a stored original that may be used now, or None.

        Raises SourceNotFound if no object can have the path, or after a recent 404.
        """
        return self._remote.stat(self._target(ref))

    async def open(self, ref: SourceRef) -> OpenSource:
        """Open the stored original, or fetch it first."""
        return await self._remote.open(self._target(ref))

    def identity(self, ref: SourceRef) -> str:
        """The identity of a path, such as `s3:bucket/prefix/sky/blue.jpg`.

        Raises SourceNotFound if `ref` is not a path.
        """
        if not isinstance(ref, SitePath):
            raise _not_found()
        return f"{self._place.name}/{_joined(self._place.prefix, ref.path.lstrip('/'))}"

    def purge(self, prefix: str) -> None:
        """Remove the originals, failures and shared responses that `prefix` covers.

        The responses of fetches in progress are sent but not stored.
        """
        self._remote.purge(prefix)

    async def close(self) -> None:
        """Stop all fetches."""
        await self._remote.close()

    def _target(self, ref: SourceRef) -> Target:
        path = ref.path if isinstance(ref, SitePath) else ""
        target = self._targets.get(path)
        if target is None:
            key = _joined(self._place.prefix, checked_path(path))
            identity = f"{self._place.name}/{key}"
            digest = hashlib.sha256(f"{self._place.scope} {identity}".encode()).hexdigest()
            fetch = partial(self._fetcher.fetch, key)
            target = self._targets[path] = Target(identity, digest, self._place.name, fetch)
        return target


def checked_path(path: str) -> str:
    """The path of an object below the prefix, without a leading slash.

    Raises SourceNotFound if no object can have this path. The path was percent-decoded once, so a `%2e` in it is part
    of the object's name.
    """
    path = path.removeprefix("/")
    segments = path.split("/")
    if any(segment in ("", ".", "..") for segment in segments) or any(c < " " or c == "\x7f" for c in path):
        raise _not_found()
    try:
        is_short = len(path.encode()) <= _MAX_PATH_BYTES
    except UnicodeEncodeError:  # bytes that are not UTF-8
        is_short = False
    if not is_short:
        raise _not_found()
    return path


async def check_reachable(store: Any, place: BucketPlace, limits: BucketLimits) -> tuple[Failure, str] | None:
    """Check that images can be read. Returns None, or the kind of failure and the store's message.

    Sends a GET for an object that does not exist; the answer 404 means success. A HEAD request is not used, since its
    answer does not show whether the bucket or the object is missing.
    """
    try:
        async with asyncio.timeout(limits.total_s):
            # Not get_async(): its thread may still call Python when the command ends, which aborts the process.
            path = _joined(place.prefix, "cropmark-check")
            await asyncio.to_thread(obstore.get, store, path, options={"range": (0, 1)})
    except STORE_ERRORS as error:
        failure = failure_of(error)
        return None if failure is Failure.MISSING else (failure, failure_reason(error))
    return None


class _ObjectFetcher:
    """Fetches the objects of one store, within the limits."""

    def __init__(self, store: Any, name: str, limits: BucketLimits) -> None:
        self._store = store
        self._name = name
        self._limits = limits
        self._concurrency = ConcurrencyLimit(limits.concurrency, limits.concurrency)
        self._logged_s = float("-inf")

    async def fetch(self, key: str, known: Validators | None, new_spool: NewSpool) -> OriginResponse:
        """Fetch an object. The response has no body if the stored original is still current.

        Raises SourceProblems, and Overloaded if too many requests are in progress.
        """
        try:
            async with (
                asyncio.timeout(self._limits.total_s),
                self._concurrency.slot(self._name, self._limits.connect_s),
            ):
                return await self._get(key, known, new_spool)
        except STORE_ERRORS as error:  # TimeoutError is an OSError
            failure = failure_of(error, key)
            if failure is Failure.UNCHANGED:
                return OriginResponse(key, {}, None)
            raise self._problem(failure, error) from error

    async def _get(self, key: str, known: Validators | None, new_spool: NewSpool) -> OriginResponse:
        options: Any = {"if_none_match": known.etag} if known is not None and known.etag else {}
        found = await obstore.get_async(self._store, key, options=options)
        rules = BodyRules(self._limits.limit_bytes, images_only=False)
        rules.check_length(found.meta["size"])
        headers = _headers(found)
        if headers.get("Content-Encoding", "").lower() not in _UNENCODED:
            raise UnknownEncoding(
                "the object in the bucket has a Content-Encoding", fix="upload it without a Content-Encoding"
            )
        return OriginResponse(key, headers, await spool_body(_pieces(found), key, rules, new_spool))

    def _problem(self, failure: Failure, error: BaseException) -> SourceProblem:
        reason = failure_reason(error)
        match failure:
            case Failure.MISSING:
                problem: SourceProblem = _not_found()
                problem.origin_status = int(HTTPStatus.NOT_FOUND)
            case Failure.REFUSED:
                problem = SourceFailed("the server may not read the bucket of this image", fix="ask its operator")
                self._log("the bucket refuses requests", reason, REFUSED_FIX)
            case Failure.THROTTLED:
                problem = SourceFailed(
                    "the bucket of this image limits its requests", fix="try again later", retry_after_s=2
                )
                problem.origin_status = int(HTTPStatus.SERVICE_UNAVAILABLE)
                self._log("the bucket limits requests", reason, "lower origin_concurrency, or raise the bucket's limit")
            case Failure.TIMEOUT:
                problem = SourceTimeout("the bucket of this image took too long", fix="try again later")
                self._log("the bucket is slow", reason, "check its region, or raise origin_timeout_s")
            case _:
                problem = SourceFailed("the bucket of this image could not be reached", fix="try again later")
                self._log("the bucket failed", reason, "check the endpoint and the network")
        return problem

    def _log(self, event: str, reason: str, fix: str) -> None:
        """Log a warning, at most one per minute: while a bucket fails, the requests for all its images fail."""
        now_s = time.monotonic()
        if now_s - self._logged_s >= _LOG_EVERY_S:
            self._logged_s = now_s
            log.warning(event, bucket=self._name, reason=reason, fix=fix)


async def _pieces(found: Any) -> AsyncIterator[bytes]:
    """Yields the body in pieces. The first piece has at least SNIFF_BYTES, or is the whole body."""
    async for piece in found.stream(min_chunk_size=max(65_536, SNIFF_BYTES)):
        yield bytes(piece)


def _headers(found: Any) -> dict[str, str]:
    """The response headers that obstore makes available."""
    headers = {str(name): str(value) for name, value in dict(found.attributes).items()}
    if etag := found.meta["e_tag"]:
        headers["ETag"] = str(etag)
    modified = found.meta["last_modified"]
    if modified.timestamp() > 0:  # obstore's value for a response without the header
        headers["Last-Modified"] = format_datetime(modified, usegmt=True)
    return headers


def _joined(prefix: str, path: str) -> str:
    return f"{prefix}/{path}" if prefix else path


def _not_found() -> SourceNotFound:
    return SourceNotFound("the image does not exist")
