"""Two URLs fetched and held side by side: status, type, bytes, size, and how far the pictures differ.

For an operator's own command: the URLs may be anywhere. What they answer is decoded in a renderer, as all is.
"""

from __future__ import annotations

import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPException
from typing import Any, BinaryIO, Final
from urllib.parse import urlsplit

from cropmark.config.loader import Settings
from cropmark.model.formats import READABLE, Info
from cropmark.model.problems import BadRequest, Problem, SourceFailed, SourceTooLarge, SourceUnusable
from cropmark.ports import ImageDifference, OpenSource, SourceVersion
from cropmark.renderers.pool import Pool
from cropmark.server.wiring import pool_of

MOST_BYTES: Final = 50 * 2**20
TIMEOUT_S: Final = 30.0
"""For a connection, and then for the whole body."""
_CHUNK: Final = 256 * 1024
_AGENT: Final = "cropmark-compare"


@dataclass(frozen=True, slots=True)
class FetchedUrl:
    """What a URL answered. `info` is None for what is no picture that can be read; `trouble` says why."""

    url: str
    status: int
    media_type: str
    bytes: int
    digest: str
    info: Info | None = None
    trouble: str | None = None

    def plain(self) -> dict[str, Any]:
        """The whole as JSON would have it."""
        told: dict[str, Any] = {
            "url": self.url,
            "status": self.status,
            "type": self.media_type,
            "bytes": self.bytes,
            "sha256": self.digest,
        }
        if self.info is not None:
            told |= {"size": [self.info.size.width, self.info.size.height], "frames": self.info.frames}
        return told | ({"trouble": self.trouble} if self.trouble else {})


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers, and the difference of their pictures where both have some that can be decoded."""

    one: FetchedUrl
    two: FetchedUrl
    difference: ImageDifference | None

    def unlike(self, tolerance: float) -> tuple[str, ...]:
        """What differs: `status`, `type`, `size`, `frames`, `picture`. Bytes may differ, for encoders do.

        `tolerance` is how many levels of 255 the pictures may differ on average.
        """
        one, two = self.one, self.two
        found = {
            "status": one.status != two.status,
            "type": one.media_type != two.media_type,
            "size": (one.info and one.info.size) != (two.info and two.info.size),
            "frames": (one.info and one.info.frames) != (two.info and two.info.frames),
            "picture": self._pictures_differ(tolerance),
        }
        return tuple(name for name, differs in found.items() if differs)

    def _pictures_differ(self, tolerance: float) -> bool:
        if self.difference is not None:
            return self.difference.mean > tolerance
        # Two headers and no difference: one of them breaks off behind its header.
        return self.one.info is not None and self.two.info is not None

    def plain(self, tolerance: float) -> dict[str, Any]:
        """The whole as JSON would have it."""
        told: dict[str, Any] = {"one": self.one.plain(), "two": self.two.plain()}
        if self.difference is not None:
            d = self.difference
            size = [d.size.width, d.size.height]
            told["difference"] = {"size": size, "mean": d.mean, "most": d.maximum, "psnr_db": d.psnr_db}
        return {**told, "unlike": list(self.unlike(tolerance))}


async def compared(one: str, two: str, *, accept: str = "", settings: Settings) -> Comparison:
    """Both URLs fetched with the same Accept header and compared.

    Raises BadOrder for what is no http or https URL, SourceFailed where nothing answers in time, SourceTooLarge past
    MOST_BYTES.
    """
    with ExitStack() as held:
        first, second = (held.enter_context(_fetched(url, accept)) for url in (one, two))
        pool = pool_of(settings.model_copy(update={"renderers": 1}))
        await pool.start()
        try:
            seen = [await _inspected(answer, pool) for answer in (first, second)]
            difference = await pool.compare(first.opened, second.opened) if all(s.info for s in seen) else None
        except SourceUnusable:
            difference = None
        finally:
            await pool.close()
    return Comparison(seen[0], seen[1], difference)


async def _inspected(answer: _RawAnswer, pool: Pool) -> FetchedUrl:
    found = (answer.url, answer.status, answer.media_type, answer.opened.bytes, answer.opened.stamp.version)
    if not answer.opened.bytes:
        return FetchedUrl(*found, trouble="there is no body")
    try:
        info = await pool.inspect(answer.opened, foreign=True)
    except Problem as problem:
        return FetchedUrl(*found, trouble=problem.detail)
    if info.format not in READABLE:
        return FetchedUrl(*found, trouble=f"{info.format.value} is not decoded here")
    return FetchedUrl(*found, info=info)


# ------------------------------------------------------------------------------------------------ fetching


@dataclass(frozen=True, slots=True)
class _RawAnswer:
    """An answer whose body lies in a temporary file."""

    url: str
    status: int
    media_type: str
    opened: OpenSource


@contextmanager
def _fetched(url: str, accept: str) -> Iterator[_RawAnswer]:
    try:
        readable = urlsplit(url).scheme in ("http", "https")
    except ValueError:
        readable = False
    if not readable:
        raise BadRequest(f"expected a URL of http or https, got {url[:80]!r}", fix="write https://host/path?query")
    headers = {"User-Agent": _AGENT, **({"Accept": accept} if accept else {})}
    with tempfile.TemporaryFile() as body:
        status, media_type, digest, length = _get(url, headers, body)
        yield _RawAnswer(
            url, status, media_type, OpenSource(body.fileno(), length, SourceVersion(url, digest), lambda: None)
        )


def _get(url: str, headers: dict[str, str], body: BinaryIO) -> tuple[int, str, str, int]:
    """Status, media type, SHA-256 and length of the answer; its body is written to the file."""
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - its scheme was checked
    try:
        with _answer(request) as answer:
            digest, length = _kept(answer, body)
            return answer.status, answer.headers.get_content_type(), digest, length
    except (OSError, HTTPException, ValueError) as error:
        raise SourceFailed(f"{url} gave no answer: {error}", fix="check the URL, and that the server runs") from error


def _answer(request: urllib.request.Request) -> Any:
    """The answer, whatever its status. Raises OSError where there is none."""
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310 - the operator's own URL
    except urllib.error.HTTPError as error:
        return error


def _kept(answer: Any, body: BinaryIO) -> tuple[str, int]:
    digest, length, until_s = sha256(), 0, time.monotonic() + TIMEOUT_S
    while piece := answer.read1(_CHUNK):
        length += len(piece)
        if time.monotonic() > until_s:
            raise TimeoutError(f"its body took longer than {TIMEOUT_S:g} s")
        if length > MOST_BYTES:
            raise SourceTooLarge(f"the answer has more than {MOST_BYTES} bytes", fix="compare smaller pictures")
        digest.update(piece)
        body.write(piece)
    body.flush()
    return digest.hexdigest(), length
