"""Which sources are refused after renderers died of them, and for how long."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cropmark.model.problems import SourceUnusable
from cropmark.ports import SourceVersion
from cropmark.renderers.quarantine import Quarantine

A, B, LOGO = SourceVersion("a", "1"), SourceVersion("b", "1"), SourceVersion("logo", "1")

# fmt: off
CASES = [
    # renderers died of               at, s     asked for     at, s   refused
    ([[A]],                           [0],      [A],          1,      False),
    ([[A], [A]],                      [0, 1],   [A],          2,      True),
    ([[A], [A]],                      [0, 1],   [B],          2,      False),
    ([[A], [A]],                      [0, 1],   [SourceVersion("a", "2")], 2, False),   # another version of it
    ([[A], [A]],                      [0, 599], [A],          600,    True),
    ([[A], [A]],                      [0, 601], [A],          602,    False),   # not within ten minutes
    ([[A], [A]],                      [0, 1],   [A],          600,    True),
    ([[A], [A]],                      [0, 1],   [A],          602,    False),
    ([[A], [A]],                      [0, 1],   [LOGO, A],    2,      True),    # alone it was enough
    ([[A, LOGO], [A, LOGO]],          [0, 1],   [A, LOGO],    2,      True),
    ([[A, LOGO], [A, LOGO]],          [0, 1],   [LOGO],       2,      False),   # not blamed for its company
    ([[A, LOGO], [A, LOGO]],          [0, 1],   [B, LOGO],    2,      False),
    ([],                              [],       [],           0,      False),
]
# fmt: on


@pytest.mark.parametrize(("deaths", "times_s", "asked", "now_s", "refused"), CASES)
def test_blame(
    deaths: Sequence[Sequence[SourceVersion]],
    times_s: Sequence[float],
    asked: Sequence[SourceVersion],
    now_s: float,
    refused: bool,
) -> None:
    """check_27."""
    clock = [0.0]
    blame = Quarantine(lambda: clock[0])
    for stamps, at_s in zip(deaths, times_s, strict=True):
        clock[0] = at_s
        blame.record(stamps)
    clock[0] = now_s
    if refused:
        with pytest.raises(SourceUnusable, match="brought 2 renderers down"):
            blame.check(asked)
    else:
        blame.check(asked)


def test_many_suspects_are_no_load() -> None:
    blame = Quarantine(lambda: 0.0)
    for i in range(10_000):
        blame.record([SourceVersion(str(i), "1")])
        blame.record([SourceVersion(str(i), "1")])
    blame.check([SourceVersion("0", "1")])
    with pytest.raises(SourceUnusable):
        blame.check([SourceVersion("9999", "1")])
