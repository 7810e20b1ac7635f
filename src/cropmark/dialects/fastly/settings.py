"""An operator's settings of a Fastly site, which correspond to Fastly's service settings.

Source: https://docs.rs/crate/fastly-api/latest/source/docs/DefaultSettings.md
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from annotated_types import Interval
from pydantic import BeforeValidator

from cropmark.dialects.imageopto.readers import FILTERS
from cropmark.plan.plan import TriState
from cropmark.plan.steps import Filter, Rounding

Quality = Annotated[int, Interval(ge=1, le=100)]


def _filter(word: object) -> object:
    """The filter that a word of `resize-filter` means, such as bicubic. Any other value is returned unchanged."""
    return FILTERS.get(word, word) if isinstance(word, str) else word


class JpegType(Enum):
    """The kind of JPEG to write if the request does not name one."""

    AUTO = "auto"
    """The kind of the source; baseline if the source is not a JPEG."""
    BASELINE = "baseline"
    PROGRESSIVE = "progressive"

    @property
    def progressive(self) -> TriState:
        return _PROGRESSIVE[self]


_PROGRESSIVE = {JpegType.AUTO: TriState.AS_SOURCE, JpegType.BASELINE: TriState.NO, JpegType.PROGRESSIVE: TriState.YES}


class OnMalformed(Enum):
    """The reaction to a malformed parameter."""

    REFUSE = "refuse"
    IGNORE = "ignore"
    """The parameter is ignored, with a warning."""


@dataclass(frozen=True, slots=True)
class FastlySettings:
    """Settings of one Fastly site. The defaults are those that Fastly documents."""

    resize_filter: Annotated[Filter, BeforeValidator(_filter)] = Filter.LANCZOS3
    """Filter of resizes without `resize-filter`; takes the words of that parameter."""
    rounding: Rounding = Rounding.NEAREST
    """Rounding of the size and position of a crop: nearest, as documented today, or down, as documented until 2020."""
    webp: bool = False
    """Treat every request as if it had auto=webp."""
    webp_quality: Quality = 85
    """Quality of WebP for requests without `quality`, 1 to 100."""
    jpeg_type: JpegType = JpegType.AUTO
    """Kind of JPEG for requests that do not name one; auto: as the source."""
    jpeg_quality: Quality = 85
    """Quality of JPEG for requests without `quality`, 1 to 100."""
    upscale: bool = False
    """Treat every request as if it had enable=upscale."""
    allow_video: bool = False
    """Allow format=mp4, which makes a video of an animated GIF and needs the extra `video`. Otherwise mp4 is ignored
    with a warning."""
    on_malformed: OnMalformed = OnMalformed.REFUSE
    """Reject a request with a malformed parameter, or ignore that parameter with a warning."""
    animated_webp: bool = False
    """Allow animated WebP from animated GIFs; Fastly does not convert them."""
    animated_auto: bool = False
    """Allow auto and format=auto to convert animations: a GIF to AVIF or WebP, and a WebP to AVIF. With allow_video,
    format=auto also converts a GIF to mp4 for a client that accepts video/mp4 but neither AVIF nor WebP."""
    origin_query: bool = False
    """Pass unknown parameters on to the origin, as if every request had x-fastly-imageopto-api: fastly; qp=*."""
    read_overlay_header: bool = True
    """Read the header x-fastly-imageopto-overlay."""
    read_montage_header: bool = True
    """Read the header x-fastly-imageopto-montage."""
    overlay_parameters: bool = False
    """Read overlay parameters in the query too; the header has priority."""
