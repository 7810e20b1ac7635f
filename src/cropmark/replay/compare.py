"""Compares the responses of two URLs: status, media type, image size, frames and pixels.

Images are decoded in a renderer process.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from cropmark.config.loader import Settings
from cropmark.model.problems import SourceUnusable
from cropmark.ports import ImageDifference
from cropmark.renderers.pool import Pool
from cropmark.replay.fetch import FetchedBody, FetchedUrl, checked_url, fetch, inspect_body, new_session
from cropmark.server.components import build_pool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two responses, and the difference of their pixels; None if an image cannot be decoded."""

    one: FetchedUrl
    two: FetchedUrl
    difference: ImageDifference | None

    def differences(self, tolerance: float) -> tuple[str, ...]:
        """The names of the properties that differ: `status`, `type`, `size`, `frames` and `image` (the pixels).

        `tolerance` is the largest mean difference of the pixels that is ignored, in levels from 0 to 255. Bytes are not
        compared, because two encoders write different bytes for the same pixels.
        """
        one, two = self.one, self.two
        differs = {
            "status": one.status != two.status,
            "type": one.media_type != two.media_type,
            "size": (one.info and one.info.size) != (two.info and two.info.size),
            "frames": (one.info and one.info.frames) != (two.info and two.info.frames),
            "image": self._pixels_differ(tolerance),
        }
        return tuple(name for name in differs if differs[name])

    def _pixels_differ(self, tolerance: float) -> bool:
        if self.difference is not None:
            return self.difference.mean > tolerance
        # Two valid headers without a difference: one of the images is truncated after its header.
        return self.one.info is not None and self.two.info is not None

    def to_json(self, tolerance: float) -> dict[str, Any]:
        """The comparison as a JSON object."""
        members: dict[str, Any] = {"one": self.one.to_json(), "two": self.two.to_json()}
        if (d := self.difference) is not None:
            size = [d.size.width, d.size.height]
            members["difference"] = {"size": size, "mean": d.mean, "maximum": d.maximum, "psnr_db": d.psnr_db}
        return {**members, "different": list(self.differences(tolerance))}


async def compare_urls(one: str, two: str, *, accept: str = "", settings: Settings) -> Comparison:
    """Fetch both URLs with the same Accept header and compare the responses.

    Raises BadRequest for a URL that is not http or https, SourceFailed if a server does not respond in time, and
    SourceTooLarge for a body of more than MAX_BYTES.
    """
    headers = {"Accept": accept} if accept else {}
    with ExitStack() as stack:
        async with new_session() as session:
            first, second = [
                await fetch(session, checked_url(url), stack.enter_context(tempfile.TemporaryFile()), headers)
                for url in (one, two)
            ]
        pool = build_pool(settings.model_copy(update={"renderers": 1}))
        await pool.start()
        try:
            return await compare_bodies(first, second, pool)
        finally:
            await pool.close()


async def compare_bodies(one: FetchedBody, two: FetchedBody, pool: Pool) -> Comparison:
    """Compare two responses. A renderer decodes their images."""
    first, second = await inspect_body(one, pool), await inspect_body(two, pool)
    difference = None
    if first.info and second.info:
        with suppress(SourceUnusable):
            difference = await pool.compare(one.source, two.source)
    return Comparison(first, second, difference)
