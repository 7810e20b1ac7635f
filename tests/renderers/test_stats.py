"""What is told of the pool."""

from __future__ import annotations

import pytest

from cropmark.renderers.group import ExitReason
from cropmark.renderers.stats import PoolState
from cropmark.renderers.tasks import Sandbox
from cropmark.runtime.metrics import Metrics


def state(
    sandbox: Sandbox = Sandbox.TRY, missing: tuple[str, ...] = (), alive: int = 2, trouble: str = ""
) -> PoolState:
    return PoolState(
        renderers=2,
        alive=alive,
        running=1,
        queued=3,
        queued_ms=1500.0,
        refused=4,
        dropped=5,
        restarts={ExitReason.CRASH: 6},
        sandbox=sandbox,
        missing=missing,
        trouble=trouble,
    )


# fmt: off
STATES = [
    # state                                    sandboxed  ready
    (state(),                                  True,      True),
    (state(missing=("Landlock",)),             False,     True),
    (state(Sandbox.OFF),                       False,     True),
    (state(Sandbox.REQUIRE, alive=0),          True,      True),    # the only one is being replaced
    (state(alive=0, trouble="no more memory"), True,      False),
]
# fmt: on


@pytest.mark.parametrize(("told", "sandboxed", "ready"), STATES)
def test_state(told: PoolState, sandboxed: bool, ready: bool) -> None:
    assert (told.sandboxed, told.ready) == (sandboxed, ready)


def test_rows_are_what_prometheus_reads() -> None:
    metrics = Metrics()
    metrics.read_from(state().rows)
    page = metrics.exposition().decode()
    assert "cropmark_renderers 2.0" in page
    assert "cropmark_queue_seconds 1.5" in page
    assert "cropmark_queue_refused_total 4.0" in page
    assert "cropmark_sandboxed 1.0" in page
    assert 'cropmark_renderer_restarts_total{cause="crash"} 6.0' in page
    assert 'cropmark_renderer_restarts_total{cause="deadline"} 0.0' in page
