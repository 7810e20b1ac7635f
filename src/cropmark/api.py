"""The Python API of cropmark: renders images without a server.

>>> from cropmark import render, explain
>>> image = render("photo.jpg", "crop=16:9&width=640&format=webp")
>>> image.save("out.webp")
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cropmark.caches.memory import MemoryCache
from cropmark.caches.tiered import TieredCaches
from cropmark.config.loader import Settings
from cropmark.dialects import registry
from cropmark.dialects.dialect import Dialect, ImageRequest, Response
from cropmark.dialects.hints import hints
from cropmark.explanation import Explanation, draw_analysis, explain_request, with_sources
from cropmark.model.formats import TRAITS, Format
from cropmark.model.problems import BadRequest, Problem, SourceNotFound
from cropmark.model.values import Size
from cropmark.pipeline import Pipeline, info_order
from cropmark.plan.plan import EncodingChoice, Order, Plan
from cropmark.plan.source import SitePath, SourceRequest
from cropmark.ports import Source
from cropmark.runtime.atomic_file import write_with_umask
from cropmark.runtime.logging import log_to_standard_error
from cropmark.runtime.metrics import Metrics
from cropmark.runtime.reads import read_source
from cropmark.server.components import build_pipeline, build_pool
from cropmark.server.sites import build_dialect, build_dialects, result_colors
from cropmark.sources.files import FolderSource
from cropmark.sources.site import SiteSource
from cropmark.translation import Translation, translations

_BY_SUFFIX = {"jpeg": Format.JPEG, **{traits.extension: f for f, traits in TRAITS.items() if traits.writable}}


@dataclass(frozen=True, slots=True)
class RenderedImage:
    """An encoded image with its media type, size and warnings."""

    body: bytes = field(repr=False)
    media_type: str
    size: Size | None
    """Width and height in pixels; None if the original is returned and its header was not read."""
    warnings: tuple[str, ...] = ()
    is_fallback: bool = False
    """True if the body is the original, because the original could not be processed."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the body to a file, as write() does."""
        write(path, self.body)


def write(path: str | os.PathLike[str], body: bytes) -> None:
    """Write a file completely or not at all. Raises OSError.

    A symbolic link is followed, not replaced. A pipe or a device is written directly.
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
    """Render a file. Returns the image that a server returns for this file and this query.

    `dialect` is the name of a dialect. `accept` is the client's Accept header. `suffix`, such as `.png`, selects the
    format if the query does not. Overlays that the query names are read from the file's folder.

    Starts a renderer process for this one image; for many images run a server. Raises a cropmark.model.problems.Problem
    with the cause and the fix.
    """
    path, settings = _checked_path(source), settings or Settings()
    order = image_order(build_dialect(dialect, settings), _image_request(path, query, accept), suffix)
    if isinstance(order, Response):
        return RenderedImage(order.body, order.media_type, None)
    order = adapted(order, settings)
    return asyncio.run(_render(path, order, settings))


def adapted(order: Order, settings: Settings) -> Order:
    """The order changed by the settings for colors, gain maps and SVG."""
    colors, gain_map = result_colors(settings)
    return order.with_colors(colors, gain_map=gain_map).with_svg(is_read=settings.svg == "rasterize")


def image_order(dialect: Dialect, request: ImageRequest, suffix: str = "") -> Order | Response:
    """The order for a request. `suffix` selects the format if the query does not.

    The result is a Response if the dialect responds without an image. Raises Problems.
    """
    order = dialect.order(request)
    if isinstance(order, Response):
        return order
    order = replace(order, warnings=(*order.warnings, *hints(dialect.name, request)))
    return _in_format(order, suffix, request, dialect)


async def deliver_image(pipeline: Pipeline, source: Source, order: Order) -> RenderedImage:
    """Deliver the image of an order. Raises Problems, also for a file that is not an image."""
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
    is_fallback = record.original is not None and record.original.is_failure
    return RenderedImage(body, record.media_type, size, warnings, is_fallback)


def explain(
    query: str,
    *,
    dialect: str = "fastly",
    source: str | os.PathLike[str] | None = None,
    accept: str = "",
    settings: Settings | None = None,
) -> Explanation:
    """Explain a query: its Order, and with a source also its Recipe, cache key and cost."""
    settings = settings or Settings()
    path = Path("image") if source is None else _checked_path(source)
    told = _explained(path, query, dialect, settings, accept)
    return told if source is None else asyncio.run(_with_source(path, told, settings))


def info(source: str | os.PathLike[str], *, settings: Settings | None = None) -> dict[str, Any]:
    """The facts about an image that a server returns at `/_info/…`, such as size, colors, faces and placeholders.

    Raises a Problem.
    """
    path, settings = _checked_path(source), settings or Settings()
    order = info_order(Order((SourceRequest(SitePath(path.name)),), None))
    found: dict[str, Any] = json.loads(asyncio.run(_render(path, order, settings)).body)
    return found


def draw(
    source: str | os.PathLike[str], query: str, *, dialect: str = "fastly", settings: Settings | None = None
) -> bytes:
    """A PNG of the source that shows its faces, its saliency map, and the window of the query's crop.

    Raises a Problem, also if the image could not be analyzed.
    """
    path, settings = _checked_path(source), settings or Settings()
    return asyncio.run(_draw(path, _explained(path, query, dialect, settings), settings))


def translate(
    request: str,
    *,
    dialect: str | None = None,
    to: Iterable[str] | None = None,
    accept: str | None = None,
    settings: Settings | None = None,
) -> tuple[Translation, ...]:
    """Translate a request to other dialects: to those in `to`, or to all dialects except its own.

    `request` is a URL, a path, or a query. If its path begins with a dialect's prefix, `dialect` may be omitted.
    `accept` is the Accept header of one client; without it, the translation is for every client. Raises a Problem if
    the request is rejected or a dialect is unknown.
    """
    dialects = {built.name: built for built in build_dialects(settings or Settings())}
    name, translated = _parse_request(request, dialect, dialects)
    others = [_checked_dialect(other, dialects) for other in (to or dialects) if to is not None or other != name]
    return translations(translated, _checked_dialect(name, dialects), others, accept=accept)


def _parse_request(request: str, dialect: str | None, dialects: Mapping[str, Dialect]) -> tuple[str, ImageRequest]:
    """Parse a request. Returns the name of its dialect, and the request."""
    if "://" not in request and not request.startswith("/"):
        name = dialect or "fastly"
        path = registry.entry(name).query_path if name in dialects else ""
        return name, ImageRequest(path, request.removeprefix("?"))
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
            f"expected a path that begins with a dialect, got {parts.path[:80]!r}",
            fix="name the dialect of the request (--from, or the argument dialect)",
        )
    return dialect or first, ImageRequest(
        unquote(rest if base else parts.path.removeprefix("/")), parts.query, base=base
    )


def _checked_dialect(name: str, dialects: Mapping[str, Dialect]) -> Dialect:
    """The dialect with this name. Raises BadRequest if the name is unknown."""
    if name not in dialects:
        raise BadRequest(f"unknown dialect {name[:40]!r}", fix=f"write one of {', '.join(dialects)}")
    return dialects[name]


def _checked_path(source: str | os.PathLike[str]) -> Path:
    """The real path of a file. Raises SourceNotFound if it is absent, a folder, or cannot be read."""
    path = Path(os.path.realpath(source))
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError as error:
        raise SourceNotFound(f"{source} cannot be read: {error.strerror}", fix="check its permissions") from error
    if is_folder:
        raise SourceNotFound(f"{source} is a folder", fix="name an image in it")
    if not is_file:
        raise SourceNotFound(f"file not found: {source}", fix="check the path")
    return path


def _format_of(suffix: str) -> Format | None:
    return _BY_SUFFIX.get(suffix.lower().removeprefix("."))


def _in_format(order: Order, suffix: str, request: ImageRequest, dialect: Dialect) -> Order:
    """The order with the format of `suffix`. Unchanged if the query selects a format."""
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
    text = f"this image cannot become {suffix.lower().removeprefix('.')}"
    choice = replace(next(same, EncodingChoice(image_format)), skipped_for=(), warning_if_skipped=text)
    return replace(order, plan=replace(plan, output=replace(plan.output, choices=(choice,))))


def _formats(order: Order) -> list[Format | None]:
    return [choice.format for choice in order.plan.output.choices] if order.plan else []


async def _render(path: Path, order: Order, settings: Settings) -> RenderedImage:
    async with _engine(path, settings) as (pipeline, source):
        return await deliver_image(pipeline, source, order)


def _explained(path: Path, query: str, dialect: str, settings: Settings, accept: str = "") -> Explanation:
    """Explain a query from its text alone, without its source."""
    request = _image_request(path, query, accept)
    return explain_request(build_dialect(dialect, settings), request, lambda order: adapted(order, settings))


async def _with_source(path: Path, told: Explanation, settings: Settings) -> Explanation:
    async with _engine(path, settings) as (pipeline, source):
        return await with_sources(told, source, pipeline.renderers, pipeline)


async def _draw(path: Path, told: Explanation, settings: Settings) -> bytes:
    async with _engine(path, settings) as (pipeline, source):
        return await draw_analysis(told, source, pipeline.renderers, pipeline)


@asynccontextmanager
async def _engine(path: Path, settings: Settings) -> AsyncIterator[tuple[Pipeline, Source]]:
    """A pipeline with one renderer and a small cache, and a Source for the file's folder."""
    log_to_standard_error()
    async with AsyncExitStack() as stack:
        pool = build_pool(settings.model_copy(update={"renderers": 1}))
        await pool.start()
        stack.push_async_callback(pool.close)
        pipeline = build_pipeline(settings, TieredCaches([MemoryCache(2**20)]), pool, Metrics())
        stack.push_async_callback(pipeline.close)
        yield pipeline, SiteSource({SitePath: FolderSource(path.parent)})


def _image_request(path: Path, query: str, accept: str) -> ImageRequest:
    return ImageRequest(path.name, query.removeprefix("?"), {"accept": accept})
