"""cropmark from Python: the engine without a server.

>>> from cropmark import render, explain
>>> picture = render("photo.jpg", "crop=16:9&width=640&format=webp")
>>> picture.save("out.webp")
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cropmark.caches.memory import MemoryCache
from cropmark.caches.tiered import TieredCaches
from cropmark.config.loader import Settings
from cropmark.dialects.dialect import Dialect, ImageRequest
from cropmark.explanation import Explanation, drawn, explained, explained_with
from cropmark.model.problems import BadRequest, SourceNotFound
from cropmark.model.values import Size
from cropmark.pipeline import Delivered, Pipeline
from cropmark.plan.source import SitePath
from cropmark.ports import Source
from cropmark.runtime.metrics import Metrics
from cropmark.server.sites import dialect_of, dialects_of
from cropmark.server.wiring import pool_of
from cropmark.sources.files import FolderSource
from cropmark.sources.site import SiteSource
from cropmark.translation import PATHS, Translation, translations


@dataclass(frozen=True, slots=True)
class RenderedImage:
    """An encoded picture and what came with it."""

    body: bytes = field(repr=False)
    media_type: str
    size: Size | None
    """Width and height in pixels; None where the original went out unread."""
    warnings: tuple[str, ...] = ()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the body to a file, whole or not at all: see write()."""
        write(path, self.body)


def write(path: str | os.PathLike[str], body: bytes) -> None:
    """Write a file, whole or not at all. A link stays one; into what is there and is no file, it is written.

    Raises OSError.
    """
    target = Path(path)
    # Asked before the link is followed: what /dev/stdout leads to has no path where that is a pipe.
    if target.exists() and not target.is_file():
        with target.open("wb") as there:
            there.write(body)
        return
    target = Path(os.path.realpath(target))
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            file.write(body)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def render(
    source: str | os.PathLike[str],
    query: str,
    *,
    dialect: str = "fastly",
    accept: str = "",
    settings: Settings | None = None,
) -> RenderedImage:
    """The picture that a server would answer with for this file and this query.

    `dialect` is fastly, contentstack or kontent; `accept` stands for the client's Accept header. Pictures that the
    query names (overlays) are looked for beside the file. Starts one renderer process for it: for many pictures at
    once run a server. Raises a cropmark.model.problems.Problem that says what to write instead.
    """
    return asyncio.run(_render(_file(source), query, dialect, accept, settings or Settings()))


def explain(
    query: str,
    *,
    dialect: str = "fastly",
    source: str | os.PathLike[str] | None = None,
    accept: str = "",
    settings: Settings | None = None,
) -> Explanation:
    """What the query means: the Order it is read as; with a source also the Recipe, the cache key and the cost."""
    settings = settings or Settings()
    spoken = dialect_of(dialect, settings)
    if source is None:
        return explained(spoken, _ask(Path("picture"), query, spoken, accept))
    return asyncio.run(_explain(_file(source), query, spoken, accept, settings))


def draw(
    source: str | os.PathLike[str], query: str, *, dialect: str = "fastly", settings: Settings | None = None
) -> bytes:
    """A PNG of the source with faces, the map of the subject, and the window that the query keeps.

    Raises a Problem, also where the picture could not be analyzed.
    """
    settings = settings or Settings()
    return asyncio.run(_draw(_file(source), query, dialect_of(dialect, settings), settings))


def translate(
    request: str,
    *,
    dialect: str | None = None,
    to: Iterable[str] | None = None,
    accept: str | None = None,
    settings: Settings | None = None,
) -> tuple[Translation, ...]:
    """The request in the words of other dialects, all of them where `to` is left out.

    `request` is a URL, a path, or a query; where a path begins with a dialect's prefix, `dialect` may be left out.
    `accept` stands for one client's Accept header; without one the words are for every client. Raises a Problem where
    the request is refused, or for a dialect that there is not.
    """
    dialects = {each.name: each for each in dialects_of(settings or Settings())}
    name, ask = _request(request, dialect, dialects)
    spoken = _known(name, dialects)
    others = [_known(other, dialects) for other in (to or dialects) if to is not None or other != name]
    return translations(ask, spoken, others, accept=accept)


def _request(request: str, dialect: str | None, dialects: Mapping[str, Dialect]) -> tuple[str, ImageRequest]:
    """The dialect's name, and the request as it is asked."""
    if "://" not in request and not request.startswith("/"):
        name = dialect or "fastly"
        return name, ImageRequest(PATHS.get(name, "picture"), request.removeprefix("?"))
    try:
        parts = urlsplit(request)
    except ValueError as error:
        raise BadRequest(
            f"expected a URL, got {request[:80]!r}: {error}", fix="write https://host/path?query"
        ) from error
    first, _, rest = parts.path.removeprefix("/").partition("/")
    base = f"/{first}" if first in dialects and dialect in (None, first) else ""
    if dialect is None and not base:
        raise BadRequest(
            f"expected a path that begins with a dialect, got {parts.path[:80]!r}", fix="name its dialect with --from"
        )
    return dialect or first, ImageRequest(
        unquote(rest if base else parts.path.removeprefix("/")), parts.query, base=base
    )


def _known(name: str, dialects: Mapping[str, Dialect]) -> Dialect:
    if name not in dialects:
        raise BadRequest(f"there is no dialect {name[:40]!r}", fix=f"write one of {', '.join(dialects)}")
    return dialects[name]


def _file(source: str | os.PathLike[str]) -> Path:
    path = Path(os.path.realpath(source))
    try:
        there = path.is_file()
    except OSError as error:
        raise SourceNotFound(f"{source} cannot be read: {error.strerror}", fix="check who may read it") from error
    if not there:
        raise SourceNotFound(f"there is no file {source}", fix="check the path")
    return path


async def _render(path: Path, query: str, dialect: str, accept: str, settings: Settings) -> RenderedImage:
    spoken = dialect_of(dialect, settings)
    ask = _ask(path, query, spoken, accept)
    order = spoken.order(ask)
    async with _engine(path, settings) as (pipeline, source):
        delivered = await pipeline.deliver(source, order)
        try:
            body = delivered.body if delivered.body is not None else _read(delivered)
        finally:
            if delivered.opened is not None:
                delivered.opened.close()
    record = delivered.record
    warnings = tuple(str(warned) for warned in (*order.warnings, *record.warnings))
    size = record.facts.size
    if size is None and record.facts.source is not None:
        size = record.facts.source.size
    return RenderedImage(body, record.media_type, size, warnings)


async def _explain(path: Path, query: str, spoken: Dialect, accept: str, settings: Settings) -> Explanation:
    async with _engine(path, settings) as (pipeline, source):
        return await explained_with(spoken, _ask(path, query, spoken, accept), source, pipeline.renderers, pipeline)


async def _draw(path: Path, query: str, spoken: Dialect, settings: Settings) -> bytes:
    async with _engine(path, settings) as (pipeline, source):
        return await drawn(spoken, _ask(path, query, spoken, ""), source, pipeline.renderers, pipeline)


@asynccontextmanager
async def _engine(path: Path, settings: Settings) -> AsyncIterator[tuple[Pipeline, Source]]:
    """A pipeline over the file's folder, with one renderer and a cache for one picture."""
    async with AsyncExitStack() as stack:
        pool = pool_of(settings.model_copy(update={"renderers": 1}))
        await pool.start()
        stack.push_async_callback(pool.close)
        pipeline = Pipeline(cache=TieredCaches([MemoryCache(2**20)]), renderers=pool, metrics=Metrics())
        stack.push_async_callback(pipeline.close)
        yield pipeline, SiteSource({SitePath: FolderSource(path.parent)})


def _ask(path: Path, query: str, spoken: Dialect, accept: str) -> ImageRequest:
    return ImageRequest(path.name, query.removeprefix("?"), {"accept": accept})


def _read(delivered: Delivered) -> bytes:
    assert delivered.opened is not None
    return os.pread(delivered.opened.descriptor, delivered.opened.bytes, 0)
