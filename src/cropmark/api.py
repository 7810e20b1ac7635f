"""cropmark from Python: the engine without a server.

>>> from cropmark import render, explain
>>> image = render("photo.jpg", "crop=16:9&width=640&format=webp")
>>> image.save("out.webp")
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cropmark.caches.memory import MemoryCache
from cropmark.caches.tiered import TieredCaches
from cropmark.config.loader import Settings
from cropmark.dialects.dialect import Dialect, ImageRequest, Response
from cropmark.dialects.hints import hints
from cropmark.explanation import Explanation, draw_analysis, explain_request, explain_with_source
from cropmark.model.formats import TRAITS, Format
from cropmark.model.problems import BadRequest, Problem, SourceNotFound
from cropmark.model.values import Size
from cropmark.pipeline import Pipeline
from cropmark.plan.plan import EncodingChoice, Order, Plan
from cropmark.plan.source import SitePath
from cropmark.ports import Source
from cropmark.runtime.atomic_file import write_with_umask
from cropmark.runtime.metrics import Metrics
from cropmark.runtime.reads import read_source
from cropmark.server.components import build_pool
from cropmark.server.sites import build_dialect, build_dialects
from cropmark.sources.files import FolderSource
from cropmark.sources.site import SiteSource
from cropmark.translation import DEFAULT_PATHS, Translation, translations

_BY_SUFFIX = {"jpeg": Format.JPEG, **{traits.extension: f for f, traits in TRAITS.items() if traits.writable}}


@dataclass(frozen=True, slots=True)
class RenderedImage:
    """An encoded image with its media type, size and warnings."""

    body: bytes = field(repr=False)
    media_type: str
    size: Size | None
    """Width and height in pixels; None if the original was passed through without reading its header."""
    warnings: tuple[str, ...] = ()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the body to a file; see write()."""
        write(path, self.body)


def write(path: str | os.PathLike[str], body: bytes) -> None:
    """Write a file completely or not at all. A symbolic link stays one; a pipe or a device is written to.

    Raises OSError.
    """
    target = Path(path)
    # Before realpath(): /dev/stdout may lead to a pipe, which has no path.
    if target.exists() and not target.is_file():
        with target.open("wb") as file:
            file.write(body)
        return
    target = Path(os.path.realpath(target))
    write_with_umask(target, body)


def render(
    source: str | os.PathLike[str],
    query: str,
    *,
    dialect: str = "fastly",
    accept: str = "",
    suffix: str = "",
    settings: Settings | None = None,
) -> RenderedImage:
    """The image that a server returns for this file and this query.

    `dialect` is the name of a dialect; `accept` is the client's Accept header. `suffix`, such as `.png`, selects the
    format if the query does not. Overlays that the query names are read from the file's folder. Starts a renderer
    process for this one image; for many images run a server. Raises a cropmark.model.problems.Problem with the cause
    and the fix.
    """
    path, settings = _checked_path(source), settings or Settings()
    built, request = build_dialect(dialect, settings), _image_request(path, query, accept)
    order = built.order(request)
    if isinstance(order, Response):
        return RenderedImage(order.body, order.media_type, None)
    order = replace(order, warnings=(*order.warnings, *hints(built.name, request)))
    return asyncio.run(_render(path, _in_format(order, suffix, request, built), settings))


def explain(
    query: str,
    *,
    dialect: str = "fastly",
    source: str | os.PathLike[str] | None = None,
    accept: str = "",
    settings: Settings | None = None,
) -> Explanation:
    """The query explained: its Order; with a source also the Recipe, the cache key and the cost."""
    settings = settings or Settings()
    built = build_dialect(dialect, settings)
    if source is None:
        return explain_request(built, _image_request(Path("image"), query, accept))
    path = _checked_path(source)
    return asyncio.run(_explain(path, _image_request(path, query, accept), built, settings))


def draw(
    source: str | os.PathLike[str], query: str, *, dialect: str = "fastly", settings: Settings | None = None
) -> bytes:
    """A PNG of the source with its faces, its saliency map, and the window of the query's crop.

    Raises a Problem, also if the image could not be analyzed.
    """
    path, settings = _checked_path(source), settings or Settings()
    return asyncio.run(_draw(path, _image_request(path, query, ""), build_dialect(dialect, settings), settings))


def translate(
    request: str,
    *,
    dialect: str | None = None,
    to: Iterable[str] | None = None,
    accept: str | None = None,
    settings: Settings | None = None,
) -> tuple[Translation, ...]:
    """The request translated to other dialects; to all others without `to`.

    `request` is a URL, a path, or a query. If its path begins with a dialect's prefix, `dialect` may be omitted.
    `accept` is the Accept header of one client; without it the translation is for every client. Raises a Problem if
    the request is rejected or a dialect is unknown.
    """
    dialects = {built.name: built for built in build_dialects(settings or Settings())}
    name, translated = _parse_request(request, dialect, dialects)
    others = [_checked_dialect(other, dialects) for other in (to or dialects) if to is not None or other != name]
    return translations(translated, _checked_dialect(name, dialects), others, accept=accept)


def _parse_request(request: str, dialect: str | None, dialects: Mapping[str, Dialect]) -> tuple[str, ImageRequest]:
    """The name of the request's dialect, and the request."""
    if "://" not in request and not request.startswith("/"):
        name = dialect or "fastly"
        return name, ImageRequest(DEFAULT_PATHS.get(name, "image"), request.removeprefix("?"))
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


def _checked_dialect(name: str, dialects: Mapping[str, Dialect]) -> Dialect:
    """The dialect of this name. Raises BadRequest."""
    if name not in dialects:
        raise BadRequest(f"unknown dialect {name[:40]!r}", fix=f"write one of {', '.join(dialects)}")
    return dialects[name]


def _checked_path(source: str | os.PathLike[str]) -> Path:
    """The real path of a file. Raises SourceNotFound."""
    path = Path(os.path.realpath(source))
    try:
        is_file = path.is_file()
    except OSError as error:
        raise SourceNotFound(f"{source} cannot be read: {error.strerror}", fix="check its permissions") from error
    if not is_file:
        raise SourceNotFound(f"file not found: {source}", fix="check the path")
    return path


def _format_of(suffix: str) -> Format | None:
    return _BY_SUFFIX.get(suffix.lower().removeprefix("."))


def _in_format(order: Order, suffix: str, request: ImageRequest, dialect: Dialect) -> Order:
    """The order with the suffix's format, if its query leaves the format open, as an empty query does."""
    image_format = _format_of(suffix)
    if image_format in (None, _format_of(Path(request.path).suffix)):  # the dialect chooses the source's own format
        return order
    try:
        default = dialect.order(replace(request, query=""))
    except Problem:  # the dialect requires parameters
        return order
    if isinstance(default, Response) or _formats(order) != _formats(default):
        return order
    plan = order.plan or Plan()
    same = (choice for choice in plan.output.choices if choice.format is image_format)
    choice = replace(next(same, EncodingChoice(image_format)), skipped_for=(), warning_if_skipped=None)
    return replace(order, plan=replace(plan, output=replace(plan.output, choices=(choice,))))


def _formats(order: Order) -> list[Format | None]:
    return [choice.format for choice in order.plan.output.choices] if order.plan else []


async def _render(path: Path, order: Order, settings: Settings) -> RenderedImage:
    async with _engine(path, settings) as (pipeline, source):
        delivered = await pipeline.deliver(source, order)
        try:
            body = delivered.body if delivered.source is None else read_source(delivered.source)
            assert body is not None
        finally:
            if delivered.source is not None:
                delivered.source.close()
    record = delivered.record
    if delivered.source is not None and record.facts.format is None:  # a server delivers it: a PDF next to the images
        raise SourceNotFound("the file at this path is not an image", fix="name an image")
    warnings = tuple(str(warning) for warning in (*order.warnings, *record.warnings))
    size = record.facts.size
    if size is None and record.facts.source is not None:
        size = record.facts.source.size
    return RenderedImage(body, record.media_type, size, warnings)


async def _explain(path: Path, request: ImageRequest, dialect: Dialect, settings: Settings) -> Explanation:
    async with _engine(path, settings) as (pipeline, source):
        return await explain_with_source(dialect, request, source, pipeline.renderers, pipeline)


async def _draw(path: Path, request: ImageRequest, dialect: Dialect, settings: Settings) -> bytes:
    async with _engine(path, settings) as (pipeline, source):
        return await draw_analysis(dialect, request, source, pipeline.renderers, pipeline)


@asynccontextmanager
async def _engine(path: Path, settings: Settings) -> AsyncIterator[tuple[Pipeline, Source]]:
    """A pipeline over the file's folder, with one renderer and a small cache."""
    async with AsyncExitStack() as stack:
        pool = build_pool(settings.model_copy(update={"renderers": 1}))
        await pool.start()
        stack.push_async_callback(pool.close)
        pipeline = Pipeline(cache=TieredCaches([MemoryCache(2**20)]), renderers=pool, metrics=Metrics())
        stack.push_async_callback(pipeline.close)
        yield pipeline, SiteSource({SitePath: FolderSource(path.parent)})


def _image_request(path: Path, query: str, accept: str) -> ImageRequest:
    return ImageRequest(path.name, query.removeprefix("?"), {"accept": accept})
