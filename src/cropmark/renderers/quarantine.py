"""Quarantine for sources that crash workers: after the second crash they are rejected for a while without a try."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cachetools import TTLCache

from cropmark.model.problems import SourceUnusable
from cropmark.ports import SourceVersion

_MAX_ENTRIES = 4096

SourceSet = tuple[tuple[str, str], ...]
"""All sources of a task, by identity and version. Crashes count for the set: if they counted for each source, a client
that overlays a site's logo on an image that crashes the decoder would get the logo rejected everywhere."""


class Quarantine:
    """Counts crashes per set of sources, each for `window_s`."""

    def __init__(self, clock: Callable[[], float], *, max_crashes: int = 2, window_s: float = 600) -> None:
        self._max_crashes = max_crashes
        self._crashes: TTLCache[SourceSet, int] = TTLCache(_MAX_ENTRIES, window_s, timer=clock)

    def record(self, versions: Sequence[SourceVersion]) -> None:
        """Count a crash caused by these sources. The window starts again."""
        sources = _source_set(versions)
        self._crashes[sources] = self._crashes.get(sources, 0) + 1

    def check(self, versions: Sequence[SourceVersion]) -> None:
        """Raise SourceUnusable if these sources, or one of them alone, caused too many crashes."""
        for sources in (_source_set(versions), *(_source_set([version]) for version in versions)):
            if self._crashes.get(sources, 0) >= self._max_crashes:
                raise SourceUnusable(
                    f"the image crashed {self._max_crashes} renderers and is rejected for now",
                    fix="replace the image; it is tried again after ten minutes",
                )


def _source_set(versions: Sequence[SourceVersion]) -> SourceSet:
    return tuple((version.identity, version.version) for version in versions)
