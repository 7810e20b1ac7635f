"""Fetches URLs for comparisons. All hosts are allowed, because the operator chooses the URLs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, BinaryIO, Final
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout
from yarl import URL

from cropmark.model.formats import READABLE, Info
from cropmark.model.problems import BadRequest, Problem, SourceFailed, SourceTooLarge
from cropmark.ports import OpenSource, Renderers, SourceVersion

MAX_BYTES: Final = 50 * 2**20
TIMEOUT_S: Final = 30.0
"""Longest time until the response headers arrive, and then for the whole body."""
_CHUNK_BYTES: Final = 256 * 1024
# Without an encoding, so that the bytes are those of the image.
_HEADERS: Final = {"User-Agent": "cropmark-compare", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class FetchedUrl:
    """The facts about a response. `digest` is the SHA-256 of its body in hex.

    `info` is set if the body is an image that can be decoded. If it is not, `error` may have the reason.
    """

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
class FetchedBody:
    """A response with its body in a temporary file."""

    url: str
    status: int
    media_type: str
    source: OpenSource
    retry_after: str = ""
    """The value of the header Retry-After; empty if the response does not have it."""

    @property
    def digest(self) -> str:
        """The SHA-256 of the body in hex."""
        return self.source.version.version

    def described(self, info: Info | None = None, error: str | None = None) -> FetchedUrl:
        """The facts about the response, with `info` about its image, or with the `error` of decoding."""
        return FetchedUrl(self.url, self.status, self.media_type, self.source.bytes, self.digest, info, error)


def checked_url(url: str) -> str:
    """`url`, unchanged. Raises BadRequest unless it is an http or https URL with a host."""
    try:
        parts = urlsplit(url)
        is_http = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_http = False
    if not is_http:
        raise BadRequest(f"expected an http or https URL, got {url[:80]!r}", fix="write https://host/path?query")
    return url


def new_session() -> ClientSession:
    """A session for fetch(). The caller closes it."""
    timeout = ClientTimeout(total=None, sock_connect=TIMEOUT_S, sock_read=TIMEOUT_S)
    return ClientSession(headers=_HEADERS, timeout=timeout, auto_decompress=False, trust_env=True)


async def fetch(session: ClientSession, url: str, file: BinaryIO, headers: Mapping[str, str]) -> FetchedBody:
    """Send a GET request, follow redirects, and write the body of the response to `file`.

    Raises SourceFailed if the server does not respond in time, and SourceTooLarge for a body of more than MAX_BYTES.
    """
    digest, length = sha256(), 0
    try:
        async with (
            session.get(URL(url, encoded=True), headers=headers) as response,
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
    source = OpenSource(file.fileno(), length, SourceVersion(url, digest.hexdigest()), lambda: None)
    retry_after = response.headers.get("Retry-After", "")
    return FetchedBody(url, response.status, response.content_type, source, retry_after)


async def inspect_body(body: FetchedBody, renderers: Renderers) -> FetchedUrl:
    """The facts about a response, with those about its image, or with the reason why the body cannot be decoded.

    A renderer reads the header of the image.
    """
    if not body.source.bytes:
        return body.described(error="the body is empty")
    try:
        info = await renderers.inspect(body.source, untrusted=True)
    except Problem as problem:
        return body.described(error=problem.detail)
    if info.format not in READABLE:
        return body.described(error=f"{info.format.value} is not decoded here")
    return body.described(info)
