"""Fetches two URLs and compares status, type, size, frames and pixels.

The operator chooses the URLs, so hosts are not restricted. The bodies are decoded in a renderer, as all images are.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, BinaryIO, Final
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout
from yarl import URL

from cropmark.config.loader import Settings
from cropmark.model.formats import READABLE, Info
from cropmark.model.problems import BadRequest, Problem, SourceFailed, SourceTooLarge, SourceUnusable
from cropmark.ports import ImageDifference, OpenSource, SourceVersion
from cropmark.renderers.pool import Pool
from cropmark.server.components import build_pool

MAX_BYTES: Final = 50 * 2**20
TIMEOUT_S: Final = 30.0
"""For the response headers, and again for the whole body."""
_CHUNK_BYTES: Final = 256 * 1024
# Without an encoding, so that the bytes are those of the image.
_HEADERS: Final = {"User-Agent": "cropmark-compare", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class FetchedUrl:
    """A response. Without `info` the body is not an image that we decode, and `error` has the reason."""

    url: str
    status: int
    media_type: str
    bytes: int
    digest: str
    info: Info | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The response as a JSON object."""
        members: dict[str, Any] = {
            "url": self.url,
            "status": self.status,
            "type": self.media_type,
            "bytes": self.bytes,
            "sha256": self.digest,
        }
        if self.info is not None:
            members |= {"size": [self.info.size.width, self.info.size.height], "frames": self.info.frames}
        return members | ({"error": self.error} if self.error else {})


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two responses, and the difference of their pixels if both images can be decoded."""

    one: FetchedUrl
    two: FetchedUrl
    difference: ImageDifference | None

    def differences(self, tolerance: float) -> tuple[str, ...]:
        """The properties that differ: `status`, `type`, `size`, `frames`, `image`. Bytes may differ, by encoder.

        `tolerance` is the largest mean difference of the pixels, in levels of 255.
        """
        one, two = self.one, self.two
        differs = {
            "status": one.status != two.status,
            "type": one.media_type != two.media_type,
            "size": (one.info and one.info.size) != (two.info and two.info.size),
            "frames": (one.info and one.info.frames) != (two.info and two.info.frames),
            "image": self._pixels_differ(tolerance),
        }
        return tuple(name for name in differs if differs[name])

    def _pixels_differ(self, tolerance: float) -> bool:
        if self.difference is not None:
            return self.difference.mean > tolerance
        # Two valid headers without a difference: one of the images is truncated after its header.
        return self.one.info is not None and self.two.info is not None

    def to_json(self, tolerance: float) -> dict[str, Any]:
        """The comparison as a JSON object."""
        members: dict[str, Any] = {"one": self.one.to_json(), "two": self.two.to_json()}
        if (d := self.difference) is not None:
            size = [d.size.width, d.size.height]
            members["difference"] = {"size": size, "mean": d.mean, "maximum": d.maximum, "psnr_db": d.psnr_db}
        return {**members, "different": list(self.differences(tolerance))}


async def compare_urls(one: str, two: str, *, accept: str = "", settings: Settings) -> Comparison:
    """Fetch both URLs with the same Accept header and compare the responses.

    Raises BadRequest for anything but an http or https URL, SourceFailed without a response in time, SourceTooLarge
    beyond MAX_BYTES.
    """
    with ExitStack() as stack:
        first, second = [
            await _fetch(_checked_url(url), accept, stack.enter_context(tempfile.TemporaryFile())) for url in (one, two)
        ]
        pool = build_pool(settings.model_copy(update={"renderers": 1}))
        await pool.start()
        try:
            fetched = [await _inspect(response, pool) for response in (first, second)]
            decodable = all(one.info for one in fetched)
            difference = await pool.compare(first.source, second.source) if decodable else None
        except SourceUnusable:
            difference = None
        finally:
            await pool.close()
    return Comparison(fetched[0], fetched[1], difference)


async def _inspect(response: _Response, pool: Pool) -> FetchedUrl:
    source = response.source
    fields = (response.url, response.status, response.media_type, source.bytes, source.version.version)
    if not source.bytes:
        return FetchedUrl(*fields, error="the body is empty")
    try:
        info = await pool.inspect(source, untrusted=True)
    except Problem as problem:
        return FetchedUrl(*fields, error=problem.detail)
    if info.format not in READABLE:
        return FetchedUrl(*fields, error=f"{info.format.value} is not decoded here")
    return FetchedUrl(*fields, info=info)


# ------------------------------------------------------------------------------------------------ fetching


@dataclass(frozen=True, slots=True)
class _Response:
    """A response with its body in a temporary file."""

    url: str
    status: int
    media_type: str
    source: OpenSource


def _checked_url(url: str) -> str:
    """The URL. Raises BadRequest for anything but an http or https URL."""
    try:
        is_http = urlsplit(url).scheme in ("http", "https")
    except ValueError:
        is_http = False
    if not is_http:
        raise BadRequest(f"expected an http or https URL, got {url[:80]!r}", fix="write https://host/path?query")
    return url


async def _fetch(url: str, accept: str, file: BinaryIO) -> _Response:
    """The response to a GET request, after redirects; writes its body to the file."""
    headers = {**_HEADERS, **({"Accept": accept} if accept else {})}
    timeout = ClientTimeout(total=None, sock_connect=TIMEOUT_S, sock_read=TIMEOUT_S)
    digest, length = sha256(), 0
    try:
        async with (
            ClientSession(headers=headers, timeout=timeout, auto_decompress=False, trust_env=True) as session,
            session.get(URL(url, encoded=True)) as response,
            asyncio.timeout(TIMEOUT_S),
        ):
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                length += len(chunk)
                if length > MAX_BYTES:
                    raise SourceTooLarge(f"the response has more than {MAX_BYTES} bytes", fix="compare smaller images")
                digest.update(chunk)
                file.write(chunk)
    except TimeoutError as error:
        raise SourceFailed(f"{url} did not respond within {TIMEOUT_S:g} s", fix="check the server") from error
    except (OSError, ClientError, ValueError) as error:
        raise SourceFailed(f"{url} did not respond: {error}", fix="check the URL and the server") from error
    file.flush()
    version = SourceVersion(url, digest.hexdigest())
    return _Response(
        url, response.status, response.content_type, OpenSource(file.fileno(), length, version, lambda: None)
    )
