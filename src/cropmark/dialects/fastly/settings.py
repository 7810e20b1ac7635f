"""What an operator decides for a whole service, in place of Fastly's service settings.

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
from cropmark.plan.steps import Filter

Quality = Annotated[int, Interval(ge=1, le=100)]


def _filter(word: object) -> object:
    """The filter of the parameter's words too: bicubic is cubic."""
    return FILTERS.get(word, word) if isinstance(word, str) else word


class JpegType(Enum):
    """How a JPEG is written whose format was not named more closely."""

    AUTO = "auto"
    """As the source, baseline where that is no JPEG."""
    BASELINE = "baseline"
    PROGRESSIVE = "progressive"

    @property
    def progressive(self) -> TriState:
        return _PROGRESSIVE[self]


_PROGRESSIVE = {JpegType.AUTO: TriState.AS_SOURCE, JpegType.BASELINE: TriState.NO, JpegType.PROGRESSIVE: TriState.YES}


class OnMalformed(Enum):
    """What becomes of a request with a malformed parameter."""

    REFUSE = "refuse"
    IGNORE = "ignore"
    """The parameter is ignored, with a warning."""


@dataclass(frozen=True, slots=True)
class FastlySettings:
    """A service's defaults; those of Fastly where Fastly documents one."""

    resize_filter: Annotated[Filter, BeforeValidator(_filter)] = Filter.LANCZOS3
    """How pixels are resampled where resize-filter does not say; bilinear, bicubic and lanczos are read as there."""
    webp: bool = False
    """As if every request said auto=webp."""
    webp_quality: Quality = 85
    """1 to 100, where quality does not say."""
    jpeg_type: JpegType = JpegType.AUTO
    """How a JPEG is written whose format is not named more closely; auto: as the source was."""
    jpeg_quality: Quality = 85
    """1 to 100, where quality does not say."""
    upscale: bool = False
    """As if every request said enable=upscale."""
    allow_video: bool = False
    """Only changes the words in which format=mp4 is passed over: no build writes video."""
    malformed: OnMalformed = OnMalformed.REFUSE
    """What becomes of a request with a value that cannot be read: refused, or answered without that parameter."""
    animated_webp: bool = False
    """Animated GIFs may become animated WebP; Fastly leaves them GIFs."""
    read_overlay_header: bool = True
    """Whether x-fastly-imageopto-overlay is obeyed."""
    read_montage_header: bool = True
    """Whether x-fastly-imageopto-montage is obeyed."""
    overlay_parameters: bool = False
    """Overlay parameters are read from the query too, the header's winning."""
