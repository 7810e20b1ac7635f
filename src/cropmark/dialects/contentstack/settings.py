"""An operator's settings of a Contentstack site.

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
    """The two meanings of fit=cover. The vendor's documentation describes both."""

    CROP = "crop"
    """Fills the box and cuts the overhang, as fit=crop does."""
    FASTLY = "fastly"
    """Covers the box without cutting."""

    @property
    def fit(self) -> Fit:
        return Fit.COVER if self is FitCover.CROP else Fit.OUTSIDE


@dataclass(frozen=True, slots=True)
class ContentstackSettings:
    """Settings of one Contentstack site."""

    environments: Names | None = ("production",)
    """Environments in which all files of a folder count as published.

    Has no effect on a library, where each asset has environments of its own.
    """
    branches: Names = ("main",)
    """Branches in which all files of a folder exist. A library has its own branches."""
    require_environment: bool = False
    """Reject requests without an environment."""
    gif_resize: bool = False
    """Resize and convert GIFs, which Contentstack does not do."""
    fit_cover: FitCover = FitCover.CROP
    """Meaning of fit=cover: `crop` cuts to the box, `fastly` covers it without cutting."""
    rate_limit: Rate = 80
    """Requests per second that may miss the cache; 0: no limit."""
    rate_limits: Annotated[Mapping[str, Rate], BeforeValidator(split_map)] = field(default_factory=dict, hash=False)
    """Limits of single stacks: API key and requests per second. Each replaces `rate_limit` for its stack."""
    organization: str = "organization"
    """Name of the organization; sites with the same name share `rate_limit`."""
