"""What an operator decides for a Contentstack site.

Source: https://www.contentstack.com/docs/developers/apis/image-delivery-api
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated

from annotated_types import Ge
from pydantic import BeforeValidator

from cropmark.dialects.env_values import split_list, split_map
from cropmark.plan.steps import Fit

Rate = Annotated[int, Ge(0)]
Names = Annotated[tuple[str, ...], BeforeValidator(split_list)]


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

    environments: Names | None = ("production",)
    """Where every file of a folder counts as published. None: the source is a library, which knows of each asset."""
    branches: Names = ("main",)
    """The branches of a folder."""
    require_environment: bool = False
    """A request that names no environment is refused."""
    gif_resize: bool = False
    """GIFs may be resized and converted, which Contentstack does not do."""
    fit_cover: FitCover = FitCover.CROP
    """What a picture with fit=cover becomes: cut to the box, or left as large as covers it, as Fastly has it."""
    rate_limit: Rate = 80
    """Requests a second that may miss the cache; 0: no limit."""
    rate_limits: Annotated[Mapping[str, Rate], BeforeValidator(split_map)] = field(default_factory=dict, hash=False)
    """The same for single stacks, by API key: they are counted apart."""
    organization: str = "organization"
    """Sites of one organization share that limit."""
