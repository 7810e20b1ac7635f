"""What an operator decides for a Contentstack site.

Source: https://www.contentstack.com/docs/developers/apis/image-delivery-api
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from cropmark.plan.steps import Fit


class FitCover(Enum):
    """What fit=cover means: the page says both."""

    CROP = "crop"
    """The box is filled and the overhang cut, as by fit=crop."""
    FASTLY = "fastly"
    """The box is covered and nothing cut."""

    @property
    def fit(self) -> Fit:
        return Fit.COVER if self is FitCover.CROP else Fit.OUTSIDE


@dataclass(frozen=True, slots=True)
class ContentstackSettings:
    """How a site of this dialect is set up."""

    environments: tuple[str, ...] | None = ("production",)
    """Where every file of a folder counts as published. None: the source is a library, which knows of each asset."""
    branches: tuple[str, ...] = ("main",)
    """The branches of a folder."""
    require_environment: bool = False
    gif_resize: bool = False
    """GIFs may be resized and converted, which Contentstack does not do."""
    fit_cover: FitCover = FitCover.CROP
    rate_limit: int = 80
    """Requests a second that may miss the cache; 0: no limit."""
    organization: str = "organization"
    """Sites of one organization share that limit."""
