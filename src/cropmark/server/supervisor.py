"""Forks the front processes of a server, restarts fronts that end or hang, and passes signals on to all fronts.

The supervisor process has no threads and no event loop, so that it can fork at any time. It ends after the last front.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import select
import shutil
import signal
import socket
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from cropmark.server.fronts import Front

log = structlog.get_logger("cropmark.server")

FIRST_PAUSE_S: Final = 0.1
"""Pause before a front is started again. It doubles with each front that ends within HEALTHY_S of its start."""
LONGEST_PAUSE_S: Final = 30.0
HEALTHY_S: Final = 60.0
STOP: Final = signal.SIGUSR1
"""The signal by which the supervisor stops a front. A second one ends the delay before the stop."""
CHECK_S: Final = 5.0
"""Interval at which each front reports that its event loop runs, and at which the reports are read."""
HANG_CHECKS: Final = 12
"""A front hangs if it has not reported at this number of checks in a row. A pause of all processes is one check."""
_START_S: Final = 60.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclass(slots=True)
class _Slot:
    """The process of one front. If the process has ended: the time of the restart."""

    number: int
    pid: int = 0
    started_s: float = 0.0
    pause_s: float = FIRST_PAUSE_S
    restart_s: float = 0.0
    missed: int | None = None
    """The number of checks since its last report; None before the first: a start may take long."""
    has_hung: bool = False
    """True if its last process was killed because it hung."""


@dataclass(frozen=True, slots=True)
class Forked:
    """The values that a front process gets from the supervisor that forked it.

    `ready` is the pipe in which the front reports that it accepts requests. `is_first_start` is False for a restart.
    """

    front: Front
    ready: int
    is_first_start: bool
    alive: mmap.mmap
    """Memory of all fronts and the supervisor: one byte for each front, which it sets to report that it runs."""
    replaces_hung: bool = False
    """True if the front's last process was killed because it hung."""

    def report_ready(self) -> None:
        with suppress(BrokenPipeError):  # nothing waits for a front that was started again
            os.write(self.ready, b"+")
        os.close(self.ready)

    def keep_reporting(self) -> None:
        """Report to the supervisor that the event loop runs, now and every CHECK_S."""
        self.alive[self.front.number] = 1
        asyncio.get_running_loop().call_later(CHECK_S, self.keep_reporting)


@dataclass(slots=True)
class Supervisor:
    """Runs `count` fronts that accept connections from the same sockets."""

    count: int
    listeners: tuple[socket.socket, ...]
    status: int = 0
    """The exit status of this process: at least 1 if a front did not start, or did not stop by itself."""
    _folder: Path = field(init=False)
    _lifeline: tuple[int, int] = field(init=False)
    """A pipe of which only this process holds the second end, so that the fronts notice its end."""
    _wakeup: tuple[socket.socket, socket.socket] = field(init=False)
    _slots: list[_Slot] = field(init=False)
    _alive: mmap.mmap = field(init=False)
    _check_s: float = 0.0
    """Time of the next check of the fronts' reports."""
    _is_stopping: bool = False

    def run(self) -> Forked | None:
        """Fork the fronts, and supervise them until all have ended.

        Like os.fork(), it returns in each process: a Forked in a front, None in the supervisor.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="cropmark-fronts-"))
        self._lifeline = os.pipe()
        self._wakeup = socket.socketpair()
        for each in self._wakeup:
            each.setblocking(False)
        for number in _SIGNALS:
            signal.signal(number, _do_nothing)
        signal.set_wakeup_fd(self._wakeup[1].fileno())
        release_reloads()
        self._slots = [_Slot(number) for number in range(self.count)]
        self._alive = mmap.mmap(-1, self.count)
        forked = self._start_all() or self._watch()
        if forked is None:
            shutil.rmtree(self._folder, ignore_errors=True)
        return forked

    def _start_all(self) -> Forked | None:
        """Start the fronts one after the other. Front 0 is started last, because it reports that the server runs.

        Returns None in the supervisor, and a Forked in a front.
        """
        for slot in reversed(self._slots):
            if self._is_stopping:
                break
            if (forked := self._fork(slot, is_first_start=True)) is not None:
                return forked
        return None

    def _watch(self) -> Forked | None:
        """Pass on signals and restart fronts that have ended, until all fronts have stopped.

        Returns None in the supervisor, and a Forked in a restarted front.
        """
        while True:
            self._reap()
            self._kill_hung()
            if self._is_stopping and not any(slot.pid for slot in self._slots):
                return None
            for slot in self._slots:
                is_due = not slot.pid and not self._is_stopping and time.monotonic() >= slot.restart_s
                if is_due and (forked := self._fork(slot, is_first_start=False)) is not None:
                    return forked
            self._wait()

    def _fork(self, slot: _Slot, *, is_first_start: bool) -> Forked | None:
        """Fork a front. Returns None in the supervisor, and a Forked in the front.

        At a first start, the supervisor waits until the front accepts requests.
        """
        readable, writable = os.pipe()
        self._alive[slot.number] = 0
        hold_reloads()  # the front, until it can reload
        if pid := os.fork():
            release_reloads()
            os.close(writable)
            slot.pid, slot.started_s, slot.has_hung = pid, time.monotonic(), False
            if is_first_start and not self._wait_until_ready(readable):
                self._end_failed_start(slot)
            os.close(readable)
            return None
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # Ctrl-C and service managers send SIGINT and SIGTERM to all processes. The handlers of the supervisor, which do
        # nothing, stay: a front stops once, when the supervisor sends STOP.
        for descriptor in (readable, self._lifeline[1]):
            os.close(descriptor)
        for each in self._wakeup:
            each.close()
        front = Front(slot.number, self.count, self._folder, self.listeners, self._lifeline[0])
        return Forked(front, writable, is_first_start, self._alive, slot.has_hung)

    def _wait_until_ready(self, readable: int) -> bool:
        """Wait until a front accepts requests.

        Returns False if the front ends or _START_S passes before that, or if the server must stop.
        """
        end_s = time.monotonic() + _START_S
        while time.monotonic() < end_s and not self._is_stopping:
            found, _, _ = select.select([readable, self._wakeup[0].fileno()], [], [], 1.0)
            if readable in found:
                return os.read(readable, 1) == b"+"
            self._handle_signals()
        return False

    def _end_failed_start(self, slot: _Slot) -> None:
        """Stop all fronts because one has not started, unless a signal is stopping them already."""
        if not self._is_stopping:
            log.critical("a front process did not start, the server stops", front=slot.number)
            self.status = 1
            self._stop()

    def _wait(self) -> None:
        """Wait for a signal, the next check of the fronts, or the restart of a front, and handle signals."""
        due_s = [self._check_s, *(slot.restart_s for slot in self._slots if not slot.pid)]
        timeout_s = None if self._is_stopping else max(0.0, min(due_s) - time.monotonic())
        select.select([self._wakeup[0]], [], [], timeout_s)
        self._handle_signals()

    def _handle_signals(self) -> None:
        with suppress(BlockingIOError):
            for number in self._wakeup[0].recv(4096):
                if number == signal.SIGHUP:
                    self._signal_all(signal.SIGHUP)
                elif number in (signal.SIGTERM, signal.SIGINT):
                    self._stop()

    def _stop(self) -> None:
        """Send STOP to all fronts and close this process's listening sockets. Each front closes its own later."""
        self._is_stopping = True
        self._signal_all(STOP)
        for listener in self.listeners:
            listener.close()

    def _signal_all(self, number: signal.Signals) -> None:
        for slot in self._slots:
            if slot.pid:
                with suppress(ProcessLookupError):
                    os.kill(slot.pid, number)

    def _reap(self) -> None:
        """Record which fronts have ended, and schedule their restarts."""
        for slot in self._slots:
            if not slot.pid:
                continue
            pid, status = os.waitpid(slot.pid, os.WNOHANG)
            if not pid:
                continue
            slot.pid, slot.missed = 0, None
            code = os.waitstatus_to_exitcode(status)
            if self._is_stopping:
                self.status = max(self.status, _exit_status(code))
                continue
            if time.monotonic() - slot.started_s > HEALTHY_S:
                slot.pause_s = FIRST_PAUSE_S
            slot.restart_s = time.monotonic() + slot.pause_s
            log.error("a front process ended and is started again", front=slot.number, status=code, in_s=slot.pause_s)
            slot.pause_s = min(slot.pause_s * 2, LONGEST_PAUSE_S)

    def _kill_hung(self) -> None:
        """Check the reports of the fronts, if CHECK_S has passed, and kill fronts that hang.

        _reap() then schedules their restarts.
        """
        if self._is_stopping or time.monotonic() < self._check_s:
            return
        self._check_s = time.monotonic() + CHECK_S
        for slot in self._slots:
            if self._alive[slot.number]:
                self._alive[slot.number], slot.missed = 0, 0
            elif slot.missed is not None:
                slot.missed += 1
                if slot.missed == HANG_CHECKS:
                    log.error("a front process hangs and is killed", front=slot.number, silent_s=CHECK_S * HANG_CHECKS)
                    slot.has_hung = True
                    os.kill(slot.pid, signal.SIGKILL)


def _exit_status(code: int) -> int:
    """The exit status for the exit code of a stopped front. STOP is not an error: it ends a front that is starting."""
    if code >= 0:
        return code
    return 0 if code == -STOP else 128 - code


def hold_reloads() -> None:
    """Block SIGHUP until release_reloads(), because its default action would end a server that is still starting."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def release_reloads() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def _do_nothing(*_: object) -> None:
    """Handle a signal by doing nothing. The main loop reads the signal's number from the wakeup pipe."""
