"""Work that is rejected after it ended workers, sources that are rejected with it, and the duration."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cropmark.model.problems import Overloaded, SourceUnusable
from cropmark.ports import SourceVersion
from cropmark.renderers.quarantine import Quarantine

A, B, LOGO = SourceVersion("a", "1"), SourceVersion("b", "1"), SourceVersion("logo", "1")
A2 = SourceVersion("a", "2")

# fmt: off
CASES = [
    # failures of (sources, work)               at, s     request         at, s   rejected
    ([([A], "x")],                              [0],      ([A], "x"),     1,      False),
    ([([A], "x"), ([A], "x")],                  [0, 1],   ([A], "x"),     2,      True),
    ([([A], "x"), ([A], "x")],                  [0, 1],   ([A], "y"),     2,      False),   # other work on the image
    ([([A], "x"), ([A], "y")],                  [0, 1],   ([A], "z"),     2,      False),   # no other request
    ([([A], "x"), ([A], "x")],                  [0, 1],   ([B], "x"),     2,      False),
    ([([A], "x"), ([A], "x")],                  [0, 1],   ([A2], "x"),    2,      False),   # another version of it
    ([([A], "x"), ([A], "x")],                  [0, 599], ([A], "x"),     600,    True),
    ([([A], "x"), ([A], "x")],                  [0, 601], ([A], "x"),     602,    False),   # ten minutes apart
    ([([A], "x"), ([A], "x")],                  [0, 1],   ([A], "x"),     600,    True),
    ([([A], "x"), ([A], "x")],                  [0, 1],   ([A], "x"),     602,    False),
    ([([A, LOGO], "x"), ([A, LOGO], "x")],      [0, 1],   ([A, LOGO], "x"), 2,    True),
    ([([A, LOGO], "x"), ([A, LOGO], "x")],      [0, 1],   ([LOGO], "x"),  2,      False),
    ([([A, LOGO], "x"), ([A, LOGO], "x")],      [0, 1],   ([B, LOGO], "x"), 2,    False),
    ([],                                        [],       ([], "x"),      0,      False),
]
# fmt: on

Work = tuple[Sequence[SourceVersion], str]


@pytest.mark.parametrize("timed_out", [False, True])
@pytest.mark.parametrize(("failures", "times_s", "request_", "now_s", "rejected"), CASES)
def test_work_that_failed_twice(
    failures: Sequence[Work], times_s: Sequence[float], request_: Work, now_s: float, rejected: bool, timed_out: bool
) -> None:
    """check_27."""
    clock = [0.0]
    quarantine = Quarantine(lambda: clock[0])
    for work, at_s in zip(failures, times_s, strict=True):
        clock[0] = at_s
        quarantine.record(*work, timed_out=timed_out)
    clock[0] = now_s
    if not rejected:
        quarantine.check(*request_)
        return
    # A timeout says little about the image: 503, not 415.
    kind, words = (Overloaded, "exceeded the time limit 2 times") if timed_out else (SourceUnusable, "crashed 2 render")
    with pytest.raises(kind, match=words):
        quarantine.check(*request_)


def test_every_source_of_a_failed_task_is_suspect_until_its_trial() -> None:
    quarantine = Quarantine(lambda: 0.0)
    assert quarantine.suspects([A, LOGO]) == []
    quarantine.record([A, LOGO], "x", timed_out=True)
    assert quarantine.suspects([B, LOGO, A]) == [LOGO, A]
    quarantine.acquit(LOGO)
    assert quarantine.suspects([B, LOGO, A]) == [A]
    quarantine.record([LOGO], "x", timed_out=False)
    assert quarantine.suspects([LOGO]) == [LOGO]


def test_a_source_that_failed_its_trial_is_rejected_in_any_work() -> None:
    clock = [0.0]
    quarantine = Quarantine(lambda: clock[0])
    quarantine.condemn(A)
    for work in ("x", "y"):
        with pytest.raises(SourceUnusable, match="the image crashed 2 renderers"):
            quarantine.check([LOGO, A], work)
    quarantine.check([LOGO], "x")
    quarantine.check([A2], "x")
    clock[0] = 601.0
    quarantine.check([A], "x")


def test_entries_are_bounded() -> None:
    quarantine = Quarantine(lambda: 0.0)
    for i in range(10_000):
        quarantine.condemn(SourceVersion(str(i), "1"))
        for _ in range(2):
            quarantine.record([SourceVersion(f"t{i}", "1")], "x", timed_out=False)
    quarantine.check([SourceVersion("0", "1")], "x")
    quarantine.check([SourceVersion("t0", "1")], "x")
    for name in ("9999", "t9999"):
        with pytest.raises(SourceUnusable):
            quarantine.check([SourceVersion(name, "1")], "x")
