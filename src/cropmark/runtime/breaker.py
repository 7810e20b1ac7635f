"""A circuit breaker: stops calls to a service that does not respond, and logs when it stops and resumes them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger("cropmark.runtime")

FAILURES_IN_A_ROW: Final = 3
"""Number of consecutive failures that open the breaker."""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0


class CircuitBreaker:
    """Decides if a service may be called.

    While the breaker is closed, every call is allowed. Consecutive failures open it. While it is open, one call is
    allowed after each pause, as a trial. If the trial succeeds, the breaker closes; if it fails, the next pause is
    longer. Failures of calls that began before the trial do not count.
    """

    def __init__(
        self, name: str, clock: Callable[[], float] = time.monotonic, *, longest_pause_s: float = LONGEST_PAUSE_S
    ) -> None:
        """`name` is the name of the service for the log."""
        self._name = name
        self._clock = clock
        self._longest_pause_s = longest_pause_s
        self._failures = 0
        self._pause_s = 0.0
        self._until_s = 0.0
        self._is_trying = False

    @property
    def is_open(self) -> bool:
        """True while calls are stopped: from the failures that opened the breaker until a call succeeds."""
        return self._pause_s > 0

    def allows(self) -> bool:
        """True if the service may be called now. The caller must then call succeeded() or failed()."""
        if not self.is_open:
            return True
        now_s = self._clock()
        if now_s < self._until_s:
            return False
        self._until_s = now_s + self._pause_s  # one call at a time, also if its caller is cancelled
        self._is_trying = True
        return True

    def succeeded(self) -> None:
        if self.is_open:
            log.warning(f"{self._name} responds again")
        self._failures, self._pause_s, self._is_trying = 0, 0.0, False

    def failed(self, reason: str) -> None:
        self._failures += 1
        if self._failures < FAILURES_IN_A_ROW or (self.is_open and not self._is_trying):
            return
        self._is_trying = False
        if not self.is_open:
            log.warning(f"{self._name} does not respond; continuing without it", reason=reason)
        self._pause_s = min(max(self._pause_s * 2, FIRST_PAUSE_S), self._longest_pause_s)
        self._until_s = self._clock() + self._pause_s
