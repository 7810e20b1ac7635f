"""The sources of one render, with their headers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from pyvips import Image

from cropmark.engine import load
from cropmark.engine.frames import CachedFrames
from cropmark.engine.image import DecodedImage
from cropmark.engine.repair import completed
from cropmark.model.formats import Format, Info
from cropmark.model.problems import SourceUnusable
from cropmark.plan.plan import Plan, RequestWarning
from cropmark.plan.steps import Overlay
from cropmark.runtime.reads import Data


@dataclass(frozen=True, slots=True)
class LoadedSources:
    """The sources of one render and their headers, in the order of the request.

    `sources` and `infos` have None for each missing or broken source. `warnings` has a warning for each broken source.
    """

    sources: tuple[Data | None, ...]
    infos: tuple[Info | None, ...]
    warnings: tuple[RequestWarning, ...] = ()
    first_header: Image | None = None
    """The header that libvips opened, if the first source is a JPEG and was not completed by repaired()."""
    cached: CachedFrames | None = None
    """The frames of the first source from earlier tasks; None without a cache."""
    grant_bytes: int | None = None
    """The bytes of memory that the render may take; None for any number."""

    def source(self, at: int) -> tuple[Data, Info]:
        data, info = self.sources[at], self.infos[at]
        assert data is not None and info is not None, "a Recipe names only sources that resolve() saw"
        return data, info

    def decoded(
        self, at: int, *, frames: int = 1, scale: Fraction = Fraction(1), reach: Fraction = Fraction(1)
    ) -> DecodedImage:
        """The first frames of the source with the index `at`, from the cache if possible; see load.decode()."""
        data, info = self.source(at)
        # A smaller part is decoded in another way, row by row.
        cached = self.cached if at == 0 and frames == 1 and reach > load.ROW_READING_LIMIT else None
        if cached is not None and (image := cached.get(scale)) is not None:
            return image
        header = None if at else self.first_header
        image = load.decode(data, info, header=header, frames=frames, scale=scale, reach=reach)
        return image if cached is None else cached.put(scale, image, info, is_read_whole=reach == 1)

    def broken(self) -> set[int]:
        """The indices of the sources that cannot be decoded.

        libvips' errors do not name the broken source, so this reads every source. It is called only after a failure.
        """
        return {at for at, data in enumerate(self.sources) if data is not None and not load.decodes_fully(data)}

    def repaired(self, broken: Collection[int]) -> LoadedSources | None:
        """The sources, with each broken source completed if it lacks only its end or has wrong checksums.

        None if no source can be completed. A completed source has the same Info as before.
        """
        completions = ((at, completed(data, info.format)) for at in broken for data, info in (self.source(at),))
        whole = {at: data for at, data in completions if data is not None}
        return self._replaced(whole) if whole else None

    def without(self, broken: Collection[int], plan: Plan) -> LoadedSources:
        """The sources without the broken ones, and with a warning for each of these."""
        return replace(
            self,
            sources=tuple(None if at in broken else data for at, data in enumerate(self.sources)),
            infos=tuple(None if at in broken else info for at, info in enumerate(self.infos)),
            warnings=(*self.warnings, *(_left_out_warning(at, plan) for at in sorted(broken))),
        )

    def _replaced(self, whole: Mapping[int, Data]) -> LoadedSources:
        sources = tuple(whole.get(at, data) for at, data in enumerate(self.sources))
        if 0 not in whole:
            return replace(self, sources=sources)
        return replace(self, sources=sources, first_header=None, cached=None)


def inspected(sources: Sequence[Data | None], plan: Plan, cached: CachedFrames | None = None) -> LoadedSources:
    """The sources with their headers, without the broken ones. Raises SourceUnusable if the first source is broken.

    If a source is larger than the limit, only its start is read: resolve() rejects it by its length. If `cached` has
    the header of the first source, that source is not opened.
    """
    first, *others = sources
    limit, reads_svg = plan.limits.source_bytes, Format.SVG in plan.reads
    info, header = (None, None) if cached is None or first is None or len(first) > limit else (cached.info, None)
    if first is not None and info is None:
        info, header = load.inspect(first, limit_bytes=limit, reads_svg=reads_svg)
    infos = [info, *(_info(other, limit, reads_svg=reads_svg) for other in others)]
    broken = {at for at, info in enumerate(infos) if info is None and sources[at] is not None}
    return LoadedSources(tuple(sources), tuple(infos), first_header=header, cached=cached).without(broken, plan)


def _info(data: Data | None, limit_bytes: int, *, reads_svg: bool) -> Info | None:
    try:
        return None if data is None else load.inspect(data, limit_bytes=limit_bytes, reads_svg=reads_svg)[0]
    except SourceUnusable:
        return None


def _left_out_warning(at: int, plan: Plan) -> RequestWarning:
    for step in plan.steps:
        if isinstance(step, Overlay) and step.source == at:
            return RequestWarning(step.parameter, "left out: broken or not an image")
    return RequestWarning("montage", f"image {at} left out: broken or not an image")
