"""An operator's settings of a Kontent.ai site."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KontentSettings:
    """Settings of one Kontent.ai site."""

    versioned: bool = True
    """True: a replaced asset gets a new URL, so clients cache images for `versioned_max_age_s`.
    False: an image can change under its URL, as in a folder."""
