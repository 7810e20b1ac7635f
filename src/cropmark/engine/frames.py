"""A cache of decoded frames of the last source, so that the sizes of a srcset share one decode.

A frame is stored together with the scale at which it was decoded. Only a task that would decode the source at the same
scale uses the frame. So the bytes of a result do not depend on the order of requests (docs/decisions/0175).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

from pyvips import Image

from cropmark.engine.image import DecodedImage
from cropmark.model.formats import Format, Info

_SAMPLE_BYTES: Final = {"uchar": 1, "char": 1, "ushort": 2, "short": 2, "uint": 4, "int": 4, "float": 4}
_LARGEST_SAMPLE: Final = 16


@dataclass(slots=True)
class CachedFrames:
    """The cached frames of one source. Their pixels take at most `limit_bytes`; the least recently used are dropped."""

    name: str
    limit_bytes: int
    tasks: int = 0
    """The number of consecutive tasks for this source."""
    info: Info | None = None
    """The header of the source; None until a frame is stored."""
    _frames: dict[Fraction, DecodedImage] = field(default_factory=dict)

    def get(self, scale: Fraction) -> DecodedImage | None:
        """The cached frame that was decoded at this scale; None if it is not cached."""
        image = self._frames.pop(scale, None)
        if image is not None:
            self._frames[scale] = image
        return image

    def put(self, scale: Fraction, image: DecodedImage, info: Info, *, is_read_whole: bool) -> DecodedImage:
        """Cache the image if its pixels fit and can be in memory; returns the image to use from now on.

        The pixels of a JPEG are usually in memory already. Other formats are decoded while they are read. They are
        decoded into memory from the second task for the source on, and only if `is_read_whole`: a broken end of the
        file must not fail a request that does not read the end. Raises pyvips.Error.
        """
        (frame,) = image.frames
        if _pixel_bytes(frame) > self.limit_bytes:
            return image
        if info.format is not Format.JPEG or frame.get_typeof("vips-sequential"):
            if not is_read_whole or self.tasks < 2:
                return image
            frame = frame.copy_memory().copy()
            frame.remove("vips-sequential")
            image = replace(image, frames=(frame,))
        self.info = info
        self._frames[scale] = image
        while sum(_pixel_bytes(each.frames[0]) for each in self._frames.values()) > self.limit_bytes:
            del self._frames[next(iter(self._frames))]
        return image


class FrameCache:
    """The frames that a renderer has cached. All are from the source that it decoded last."""

    def __init__(self, limit_bytes: int = 0) -> None:
        self.limit_bytes = limit_bytes
        self._cached: CachedFrames | None = None

    def of(self, name: str | None) -> CachedFrames | None:
        """The cached frames of the source with this name. The frames of any other source are dropped.

        Returns None, and nothing is cached, if the source has no name or if the limit of the cache is 0 bytes.
        """
        if self._cached is None or self._cached.name != name:
            self._cached = CachedFrames(name, self.limit_bytes) if name and self.limit_bytes else None
        if self._cached is not None:
            self._cached.tasks += 1
        return self._cached

    def clear(self) -> None:
        self._cached = None


def _pixel_bytes(frame: Image) -> int:
    sample: int = _SAMPLE_BYTES.get(frame.format, _LARGEST_SAMPLE)
    pixels: int = frame.width * frame.height * frame.bands
    return pixels * sample
