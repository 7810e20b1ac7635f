"""Sources that are rejected after they crashed workers, and the duration."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cropmark.model.problems import SourceUnusable
from cropmark.ports import SourceVersion
from cropmark.renderers.quarantine import Quarantine

A, B, LOGO = SourceVersion("a", "1"), SourceVersion("b", "1"), SourceVersion("logo", "1")

# fmt: off
CASES = [
    # crashes of                      at, s     request       at, s   rejected
    ([[A]],                           [0],      [A],          1,      False),
    ([[A], [A]],                      [0, 1],   [A],          2,      True),
    ([[A], [A]],                      [0, 1],   [B],          2,      False),
    ([[A], [A]],                      [0, 1],   [SourceVersion("a", "2")], 2, False),   # another version of it
    ([[A], [A]],                      [0, 599], [A],          600,    True),
    ([[A], [A]],                      [0, 601], [A],          602,    False),   # more than ten minutes apart
    ([[A], [A]],                      [0, 1],   [A],          600,    True),
    ([[A], [A]],                      [0, 1],   [A],          602,    False),
    ([[A], [A]],                      [0, 1],   [LOGO, A],    2,      True),    # one source alone crashed twice
    ([[A, LOGO], [A, LOGO]],          [0, 1],   [A, LOGO],    2,      True),
    ([[A, LOGO], [A, LOGO]],          [0, 1],   [LOGO],       2,      False),   # not rejected for the other source
    ([[A, LOGO], [A, LOGO]],          [0, 1],   [B, LOGO],    2,      False),
    ([],                              [],       [],           0,      False),
]
# fmt: on


@pytest.mark.parametrize(("deaths", "times_s", "requested", "now_s", "rejected"), CASES)
def test_blame(
    deaths: Sequence[Sequence[SourceVersion]],
    times_s: Sequence[float],
    requested: Sequence[SourceVersion],
    now_s: float,
    rejected: bool,
) -> None:
    """check_27."""
    clock = [0.0]
    quarantine = Quarantine(lambda: clock[0])
    for versions, at_s in zip(deaths, times_s, strict=True):
        clock[0] = at_s
        quarantine.record(versions)
    clock[0] = now_s
    if rejected:
        with pytest.raises(SourceUnusable, match="crashed 2 renderers"):
            quarantine.check(requested)
    else:
        quarantine.check(requested)


def test_entries_are_bounded() -> None:
    quarantine = Quarantine(lambda: 0.0)
    for i in range(10_000):
        quarantine.record([SourceVersion(str(i), "1")])
        quarantine.record([SourceVersion(str(i), "1")])
    quarantine.check([SourceVersion("0", "1")])
    with pytest.raises(SourceUnusable):
        quarantine.check([SourceVersion("9999", "1")])
