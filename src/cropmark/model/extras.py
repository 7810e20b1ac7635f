"""The optional codecs: the formats that each extra adds, the packages with the codecs, and their licenses.

An extra is an optional dependency, such as `cropmark[heif]`. At import, this module looks for each package once,
without loading it. So the front and the renderers agree on the supported formats, and only renderers load a codec.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final


@dataclass(frozen=True, slots=True)
class CodecPackage:
    """A Python package with a codec. `module` is the module to import."""

    name: str
    module: str
    license: str


@dataclass(frozen=True, slots=True)
class Extra:
    """An extra (optional dependency) of cropmark that adds a codec."""

    name: str
    packages: tuple[CodecPackage, ...]
    """The packages that can be used, the preferred one first. Installing the extra installs the last one."""
    about: str
    also: tuple[CodecPackage, ...] = ()
    """Packages that the extra needs in addition to one of `packages`."""

    @property
    def package(self) -> CodecPackage | None:
        """The installed package of the extra; None if the extra is not installed completely."""
        if not all(map(_is_installed, self.also)):
            return None
        return next(filter(_is_installed, self.packages), None)

    def __str__(self) -> str:
        packages = ", ".join(f"{each.name}, {each.license}" for each in (self.packages[-1], *self.also))
        return f"{packages}; {self.about}"


def _is_installed(package: CodecPackage) -> bool:
    try:
        return find_spec(package.module) is not None
    except ModuleNotFoundError:  # the package that the module is a part of is missing
        return False


HEIF: Final = Extra(
    "heif",
    (
        CodecPackage("pillow-heif", "_pillow_heif", "GPL-2.0 (with x265)"),
        CodecPackage("pi-heif", "_pi_heif", "LGPL-3.0 (libheif, libde265)"),
    ),
    "reads HEIC",
)
JXL: Final = Extra(
    "jxl",
    (CodecPackage("pylibjxl", "pylibjxl", "BSD-3-Clause (libjxl)"),),
    "reads and writes JPEG XL",
    also=(CodecPackage("imagecodecs", "imagecodecs", "BSD-3-Clause (libjxl and others)"),),
)
MOTION: Final = Extra(
    "motion",
    (CodecPackage("pillow", "PIL._avif", "MIT-CMU (libavif, libaom, dav1d: BSD-2-Clause)"),),
    "reads and writes animated AVIF",
)
VIDEO: Final = Extra(
    "video",
    (CodecPackage("av", "av", "BSD-3-Clause (its wheel has libx264 and libx265: GPL-2.0)"),),
    "writes animated GIFs as mp4",
)
EXTRAS: Final = (HEIF, JXL, MOTION, VIDEO)

INSTALLED: Final = frozenset(extra.name for extra in EXTRAS if extra.package is not None)
"""The names of the extras that are installed."""
