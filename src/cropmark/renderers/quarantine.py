"""Quarantine: rejects work that has repeatedly ended renderers, for ten minutes, without another try.

A Plan that is slow, or that crashes a renderer, says little about its image. So failures count for the combination of
the sources of a task with its work, such as a Plan. Each source of a failed task is suspect until its trial, which
renders a thumbnail of the source alone. If the trial ends a renderer too, the source is rejected in any work.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from cachetools import TTLCache

from cropmark.model.problems import Overloaded, SourceUnusable
from cropmark.ports import SourceVersion

_MAX_ENTRIES = 4096
_MAX_FAILURES = 2
_WINDOW_S = 600

_Source = tuple[str, str]
"""The identity and version of a source."""


@dataclass(frozen=True, slots=True)
class _Failures:
    count: int
    timed_out: bool
    """True if the last failure was a timeout."""


class Quarantine:
    """Counts the failures of each combination of sources and work.

    A count expires ten minutes after the last failure.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._failures: TTLCache[tuple[tuple[_Source, ...], Hashable], _Failures]
        self._suspects: TTLCache[_Source, None]
        self._condemned: TTLCache[_Source, None]
        self._failures, self._suspects, self._condemned = (
            TTLCache(_MAX_ENTRIES, _WINDOW_S, timer=clock) for _ in range(3)
        )

    def record(self, versions: Sequence[SourceVersion], work: Hashable, *, timed_out: bool) -> None:
        """Count a failure of this work on these sources, which has ended a renderer. Its ten minutes begin again."""
        key = (_sources(versions), work)
        before = self._failures.get(key)
        self._failures[key] = _Failures(1 if before is None else before.count + 1, timed_out)
        for source in _sources(versions):
            self._suspects[source] = None

    def condemn(self, version: SourceVersion) -> None:
        """Reject every task with the source from now on, because its trial has ended a renderer."""
        self._condemned[_source(version)] = None

    def is_condemned(self, version: SourceVersion) -> bool:
        """True if every task with the source is rejected, because its trial ended a renderer."""
        return _source(version) in self._condemned

    def acquit(self, version: SourceVersion) -> None:
        """Remove the source from the suspects, because it has passed its trial."""
        self._suspects.pop(_source(version), None)

    def suspects(self, versions: Sequence[SourceVersion]) -> list[SourceVersion]:
        """The members of `versions` that need a trial before any other work."""
        return [version for version in versions if _source(version) in self._suspects]

    def check(self, versions: Sequence[SourceVersion], work: Hashable) -> None:
        """Raise SourceUnusable or Overloaded if a source is rejected, or if this work on these sources is rejected."""
        if any(map(self.is_condemned, versions)):
            raise _crashes("the image", fix="replace the image")
        if not self._failures:  # the usual case: the hash of a Plan takes longer than all else here
            return
        failures = self._failures.get((_sources(versions), work))
        if failures is None or failures.count < _MAX_FAILURES:
            return
        if failures.timed_out:
            raise Overloaded(
                f"this request exceeded the time limit {failures.count} times, so it is rejected for ten minutes",
                fix="request a smaller size or fewer operations",
                retry_after_s=_WINDOW_S,
            )
        raise _crashes("this request", fix="request a smaller size or fewer operations, or replace the image")


def _crashes(cause: str, *, fix: str) -> SourceUnusable:
    return SourceUnusable(f"{cause} crashed {_MAX_FAILURES} renderers, so it is rejected for ten minutes", fix=fix)


def _sources(versions: Sequence[SourceVersion]) -> tuple[_Source, ...]:
    return tuple(map(_source, versions))


def _source(version: SourceVersion) -> _Source:
    return version.identity, version.version
