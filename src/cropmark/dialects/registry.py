"""The list of all dialects, which configuration, server, CLI, playground and documents read.

A new dialect is a folder next to this file, and one entry in DIALECTS. Importing this module does no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cropmark.dialects.contentstack.dialect import Contentstack
from cropmark.dialects.contentstack.settings import ContentstackSettings
from cropmark.dialects.dialect import Dialect, ParameterDoc
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.dialects.fastly.overlays import MONTAGE_HEADER, OVERLAY_HEADER
from cropmark.dialects.fastly.settings import FastlySettings
from cropmark.dialects.kontent.dialect import Kontent
from cropmark.dialects.kontent.settings import KontentSettings
from cropmark.dialects.pixlab.dialect import PixLab
from cropmark.dialects.pixlab.params import rendering_endpoints
from cropmark.dialects.pixlab.settings import PixLabSettings


@dataclass(frozen=True, slots=True)
class DefaultMount:
    """A URL path prefix at which the server offers a dialect without further configuration."""

    prefix: str
    """Begins with a slash and has none at its end."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Dialect settings at this mount that differ from those of the operator's configuration."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An example query for the playground, with the label of its button."""

    label: str
    query: str


@dataclass(frozen=True, slots=True)
class DialectEntry:
    """A dialect in the list: its classes, its default mounts, and its texts for the start page and the documents."""

    name: str
    """The dialect's name in the configuration, on the command line, in metrics and in file names of documents."""
    cls: type[Dialect]
    settings_cls: type[Any]
    title: str
    """The vendor's name for the service, as documents show it."""
    mounts: tuple[DefaultMount, ...] = ()
    """The URL path prefixes at which the server offers the dialect without further configuration."""
    samples: tuple[Sample, ...] = ()
    thumbnail: str = ""
    """The query of the 16:9 thumbnails of the playground. No smart crop: its analysis would delay the first result."""
    header_params: tuple[tuple[str, tuple[ParameterDoc, ...]], ...] = ()
    """Request headers that hold a query string, each with its parameters."""
    query_path: str = "image"
    """The path that the command line and the Python API assume for a request if they receive only its query."""
    requests: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The endpoints that render an image, each with the parameters that change it; empty without endpoints."""
    is_endpoint: bool = False
    """True if endpoints (web/pixlab) serve the dialect at its mounts, in place of a Site with a source.

    A dialect with endpoints serves no folder: its callers name or upload the image.
    """

    @property
    def parameter_names(self) -> frozenset[str]:
        """The names of all parameters, in the query and in request headers."""
        in_headers = (doc.name for _, docs in self.header_params for doc in docs)
        return frozenset((*(doc.name for doc in self.cls.params), *in_headers))

    def build(self, settings: object | None = None) -> Dialect:
        """A new instance of the dialect with these settings; with None, it has the default settings.

        `settings` is an instance of `settings_cls`.
        """
        return self.cls(self.settings_cls() if settings is None else settings)


DIALECTS: Final[tuple[DialectEntry, ...]] = (
    DialectEntry(
        "fastly",
        Fastly,
        FastlySettings,
        "Fastly Image Optimizer",
        mounts=(DefaultMount("/fastly"),),
        samples=(
            Sample("small", "width=320"),
            Sample("16:9, WebP", "crop=16:9&width=480&format=webp"),
            Sample("smart 1:1", "crop=1:1,smart&width=320"),
            Sample("portrait", "width=300&height=400&fit=crop"),
            Sample("black, white", "width=320&bw=atkinson&format=png8"),
            Sample("blurred", "width=320&blur=12&saturation=-60"),
        ),
        thumbnail="crop=16:9&width=192",
        header_params=((OVERLAY_HEADER, Fastly.overlay_params), (MONTAGE_HEADER, Fastly.montage_params)),
    ),
    DialectEntry(
        "contentstack",
        Contentstack,
        ContentstackSettings,
        "Contentstack Image Delivery",
        mounts=(DefaultMount("/contentstack"),),
        samples=(
            Sample("small", "width=320"),
            Sample("padded", "width=320&pad=20&bg-color=ffcc00"),
            Sample("smart 4:5", "crop=4:5,smart&width=320"),
        ),
        thumbnail="crop=16:9&width=192",
    ),
    DialectEntry(
        "kontent",
        Kontent,
        KontentSettings,
        "Kontent.ai Image Transformation",
        mounts=(DefaultMount("/kontent"),),
        samples=(
            Sample("small", "w=320"),
            Sample("focal point", "w=320&h=320&fit=crop&crop=focalpoint&fp-x=0.3&fp-y=0.3&fp-z=2"),
            Sample("smart", "w=480&h=160&fit=crop&crop=smart"),
        ),
        thumbnail="w=192&h=108&fit=crop",
    ),
    DialectEntry(
        "pixlab",
        PixLab,
        PixLabSettings,
        "PixLab",
        mounts=(DefaultMount("/pixlab"),),
        query_path="crop",
        samples=(
            Sample("small", "x=0&y=0&width=200&height=150"),
            Sample("square", "x=100&y=50&width=300&height=300"),
        ),
        requests={endpoint.value: names for endpoint, names in rendering_endpoints()},
        is_endpoint=True,
    ),
)


def entry(name: str) -> DialectEntry:
    """The entry of the dialect with this name. Raises KeyError for an unknown name."""
    try:
        return next(dialect for dialect in DIALECTS if dialect.name == name)
    except StopIteration:
        raise KeyError(name) from None


def names() -> tuple[str, ...]:
    """The names of all dialects, in the order of DIALECTS."""
    return tuple(dialect.name for dialect in DIALECTS)


def folder_entries() -> tuple[DialectEntry, ...]:
    """The dialects that serve a folder at their mounts: all with `is_endpoint` False."""
    return tuple(dialect for dialect in DIALECTS if not dialect.is_endpoint)
