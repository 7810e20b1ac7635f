"""References to the sources of an Order, and filters that select sources for a rule."""

from __future__ import annotations

from dataclasses import dataclass, field

from cropmark.model.formats import Format, Info


@dataclass(frozen=True, slots=True)
class PublishScope:
    """The environment and branch in which a library asset must be published, and the tokens of the request."""

    environment: str | None = None
    branch: str = "main"
    token: str | None = field(default=None, repr=False)
    management_token: str | None = field(default=None, repr=False)
    """An authtoken or a management token, which also permits access to drafts."""
    parent_stack: str | None = None
    """If the asset is an overlay, the stack of the image that it is drawn on; empty if that image is not in a stack."""


@dataclass(frozen=True, slots=True)
class SitePath:
    """An image in the site's own source, by its decoded path without a leading slash.

    Only libraries use `scope`, and only origins use `query`: a file of a folder has no parameters.
    """

    path: str
    scope: PublishScope | None = None
    query: str = ""
    """The query for the origin, still encoded."""


@dataclass(frozen=True, slots=True)
class WebUrl:
    """An image at a URL, fetched by the web source under its access policy."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    """Headers of the client's request. The headers that the source's policy names are sent to the origin and are part
    of the source's identity."""


@dataclass(frozen=True, slots=True)
class UploadRef:
    """An uploaded file in the request body. `digest` is its SHA-256 in hex, by which the front process finds it."""

    digest: str


SourceRef = SitePath | WebUrl | UploadRef


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """One source of an Order.

    If an optional source is unavailable, the result is made without it and has a warning.
    """

    ref: SourceRef
    optional: bool = False
    parameter: str | None = None
    """The parameter that named the source, in the dialect's spelling, for warnings and errors."""


@dataclass(frozen=True, slots=True)
class SourceFilter:
    """The sources that a rule applies to. A filter with a field of None accepts any value of that property.

    SourceFilter(frozenset({Format.GIF}), animated=True) matches every animated GIF.
    """

    formats: frozenset[Format] | None = None
    animated: bool | None = None
    alpha: bool | None = None
    lossless: bool | None = None

    def matches(self, info: Info) -> bool:
        """True if the image has all properties that the filter names."""
        return (
            (self.formats is None or info.format in self.formats)
            and (self.animated is None or info.animated == self.animated)
            and (self.alpha is None or info.alpha == self.alpha)
            and (self.lossless is None or info.lossless == self.lossless)
        )


def matches_any(filters: tuple[SourceFilter, ...], info: Info) -> bool:
    """True if at least one filter matches the image."""
    return any(source_filter.matches(info) for source_filter in filters)
