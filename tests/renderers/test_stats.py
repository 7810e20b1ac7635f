"""The state of the pool in readiness and metrics."""

from __future__ import annotations

import pytest

from cropmark.renderers.group import ExitReason
from cropmark.renderers.stats import PoolState
from cropmark.renderers.tasks import Sandbox
from cropmark.runtime.metrics import Metrics


def state(
    sandbox: Sandbox = Sandbox.TRY, missing_layers: tuple[str, ...] = (), alive: int = 2, start_error: str = ""
) -> PoolState:
    return PoolState(
        workers=2,
        alive=alive,
        running=1,
        queued=3,
        queued_ms=1500.0,
        rejected=4,
        dropped=5,
        restarts={ExitReason.CRASH: 6},
        sandbox=sandbox,
        missing_layers=missing_layers,
        start_error=start_error,
    )


# fmt: off
STATES = [
    # state                                    sandboxed  ready
    (state(),                                  True,      True),
    (state(missing_layers=("Landlock",)),             False,     True),
    (state(Sandbox.OFF),                       False,     True),
    (state(Sandbox.REQUIRE, alive=0),          True,      True),    # the only worker is being replaced
    (state(alive=0, start_error="no more memory"), True,      False),
]
# fmt: on


@pytest.mark.parametrize(("snapshot", "sandboxed", "ready"), STATES)
def test_state(snapshot: PoolState, sandboxed: bool, ready: bool) -> None:
    assert (snapshot.sandboxed, snapshot.ready) == (sandboxed, ready)


def test_samples_as_prometheus_metrics() -> None:
    metrics = Metrics()
    metrics.read_from(state, state().samples)
    page = metrics.exposition().decode()
    assert "cropmark_renderer_processes 2.0" in page
    assert "cropmark_queue_estimated_work_seconds 1.5" in page
    assert "cropmark_queue_rejected_total 4.0" in page
    assert "cropmark_sandbox_active 1.0" in page
    assert 'cropmark_renderer_restarts_total{cause="crash"} 6.0' in page
    assert 'cropmark_renderer_restarts_total{cause="timeout"} 0.0' in page
