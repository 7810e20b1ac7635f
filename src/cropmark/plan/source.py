"""Where the pictures of an order come from, and which pictures a rule is about."""

from __future__ import annotations

from dataclasses import dataclass, field

from cropmark.model.formats import Format, Info


@dataclass(frozen=True, slots=True)
class PublishScope:
    """Which edition of an asset a library is asked for: as published to an environment, of a branch, with a token."""

    environment: str | None = None
    branch: str = "main"
    token: str | None = field(default=None, repr=False)
    manager: str | None = field(default=None, repr=False)
    """An authtoken or a management token, of whoever may see drafts too."""
    beside: str | None = None
    """The stack of the picture beside which a parameter named this one, as overlays are: neither where a token is
    needed."""


@dataclass(frozen=True, slots=True)
class SitePath:
    """A picture of the site's own source, by its decoded path without a leading slash.

    `edition` is for sources that are a library; a folder has one edition of everything.
    """

    path: str
    scope: PublishScope | None = None


@dataclass(frozen=True, slots=True)
class WebUrl:
    """A picture somewhere on the web, fetched by the guarded web source."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    """Headers of the client's request; those that the source's policy names go to the origin, and make it another
    source."""


@dataclass(frozen=True, slots=True)
class UploadRef:
    """Bytes that came with the request; `digest` is their SHA-256 in hex, the front holds them by it."""

    digest: str


SourceRef = SitePath | WebUrl | UploadRef


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """One picture of an order. Where an optional one cannot be had, the answer is made without it, and says so."""

    ref: SourceRef
    optional: bool = False
    parameter: str | None = None
    """What named it, in the dialect's spelling, for warnings and errors."""


@dataclass(frozen=True, slots=True)
class SourceFilter:
    """Pictures that a rule is about; None asks for nothing.

    Kind(frozenset({Format.GIF}), animated=True) is every animated GIF.
    """

    formats: frozenset[Format] | None = None
    animated: bool | None = None
    alpha: bool | None = None
    lossless: bool | None = None

    def matches(self, info: Info) -> bool:
        """Whether the picture is one of these."""
        return (
            (self.formats is None or info.format in self.formats)
            and (self.animated is None or info.animated == self.animated)
            and (self.alpha is None or info.alpha == self.alpha)
            and (self.lossless is None or info.lossless == self.lossless)
        )


def matches_any(kinds: tuple[SourceFilter, ...], info: Info) -> bool:
    """Whether the picture is of one of the kinds."""
    return any(kind.matches(info) for kind in kinds)
