"""Sources that renderers died of: after the second time they are refused for a while, without another try."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cachetools import TTLCache

from cropmark.model.problems import SourceUnusable
from cropmark.ports import SourceVersion

_MOST_SUSPECTS = 4096

Suspect = tuple[tuple[str, str], ...]
"""All sources of a task, by name and version. Not each for itself: else whoever lays a site's logo over a picture that
crashes the decoder gets the logo refused everywhere."""


class Quarantine:
    """Counts deaths by source, for `window_s` each."""

    def __init__(self, clock: Callable[[], float], *, deaths: int = 2, window_s: float = 600) -> None:
        self._deaths = deaths
        self._died: TTLCache[Suspect, int] = TTLCache(_MOST_SUSPECTS, window_s, timer=clock)

    def record(self, stamps: Sequence[SourceVersion]) -> None:
        """A renderer died of these. The window begins anew."""
        suspect = _suspect(stamps)
        self._died[suspect] = self._died.get(suspect, 0) + 1

    def check(self, stamps: Sequence[SourceVersion]) -> None:
        """Raise SourceUnusable where these, or one of them alone, were the death of too many."""
        for suspect in (_suspect(stamps), *(_suspect([stamp]) for stamp in stamps)):
            if self._died.get(suspect, 0) >= self._deaths:
                raise SourceUnusable(
                    f"the picture brought {self._deaths} renderers down and is refused for now",
                    fix="replace the picture; it is tried again after ten minutes",
                )


def _suspect(stamps: Sequence[SourceVersion]) -> Suspect:
    return tuple((stamp.identity, stamp.version) for stamp in stamps)
