"""The walls around a renderer, put up from inside once all is loaded: what breaks into a decoder finds nothing to take.

seccomp is the wall: an allow-list of system calls for every thread, without any that opens, connects, starts, signals
or looks at something else. Landlock without any path is the second one; before kernel ABI 8 it covers only the thread
that asks for it and those that come after. docs/decisions/0041 tells why each is there.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from typing import Any

from cropmark.renderers.tasks import Sandbox

Conditions = list[tuple[int, str, int, int]]
"""All must hold: the argument's index, "eq" or "masked", the value, and for "masked" the mask."""

_SOCKET = 0
_STDERR = 2

_CLONE_VM, _CLONE_SIGHAND, _CLONE_THREAD = 0x100, 0x800, 0x10000
_THREAD = _CLONE_VM | _CLONE_SIGHAND | _CLONE_THREAD
_MAP_KIND, _MAP_PRIVATE = 0x3, 0x2
_PROT_EXEC = 0x4
_PR_SET_NAME = 15

# fmt: off
ALLOWED = (
    # its socket's messages and its sources; the descriptors are those it was given
    "read", "pread64", "close", "fstat", "lseek",
    # memory
    "brk", "munmap", "mremap", "madvise",
    # threads and signals of its own
    "futex", "set_robust_list", "rseq", "gettid", "getpid", "sched_yield", "sched_getaffinity", "getcpu", "membarrier",
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "exit", "exit_group",
    # time, chance, and what the machine has
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "getrandom", "sysinfo",
    "getrusage", "uname", "poll", "ppoll",
)
"""Calls that may be made with any argument. Names that an architecture has not are left out there."""


def guarded(pid: int) -> Mapping[str, tuple[Conditions, ...]]:
    """Calls that may be made with some arguments only, by the process of that number; any row of conditions will do."""
    return {
        "recvmsg":  ([(0, "eq", _SOCKET, 0)],),
        "recvfrom": ([(0, "eq", _SOCKET, 0)],),
        "sendmsg":  ([(0, "eq", _SOCKET, 0)],),
        "sendto":   ([(0, "eq", _SOCKET, 0)],),
        # Not to a source: it may be open for writing, as temporary files are.
        "write":    ([(0, "eq", _STDERR, 0)], [(0, "eq", 1, 0)]),
        "writev":   ([(0, "eq", _STDERR, 0)], [(0, "eq", 1, 0)]),
        # Not shared, for the same reason; and nothing that is written can be run.
        "mmap":     ([(2, "masked", 0, _PROT_EXEC), (3, "masked", _MAP_PRIVATE, _MAP_KIND)],),
        "mprotect": ([(2, "masked", 0, _PROT_EXEC)],),
        "clone":    ([(0, "masked", _THREAD, _THREAD)],),
        "tgkill":   ([(0, "eq", pid, 0)],),               # abort()
        "prctl":    ([(0, "eq", _PR_SET_NAME, 0)],),      # a thread names itself
        "prlimit64": ([(0, "eq", 0, 0), (2, "eq", 0, 0)],),  # its own limits, read only
    }
# fmt: on


def confine(policy: Sandbox) -> tuple[str, ...]:
    """Lock this process in for good; the walls that could not be put up, none where none was asked for.

    Whatever is not loaded yet cannot be loaded any more. Takes about 5 ms.
    """
    if policy is Sandbox.OFF:
        return ()
    if sys.platform != "linux":
        return ("seccomp and Landlock: only Linux has them",)
    import resource  # noqa: PLC0415 - with the two below: they exist on Linux only

    import landlockpy  # noqa: PLC0415
    import seccompy  # noqa: PLC0415

    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    # In this order: the first call of each looks libc up on disk, and the loaded filter forbids Landlock's own calls.
    seccomp = seccompy.supported() and seccompy.flag_supported(seccompy.FilterFlag.TSYNC)
    landlock = landlockpy.supported()
    if landlock:
        _close_paths(landlockpy)
    if seccomp:
        _filter(seccompy).load()
    missing = [name for name, there in (("seccomp", seccomp), ("Landlock", landlock)) if not there]
    return (*missing, *_holes())


def _close_paths(landlockpy: Any) -> None:
    scopes = landlockpy.Scope.ABSTRACT_UNIX_SOCKET | landlockpy.Scope.SIGNAL
    with landlockpy.Ruleset(scoped=scopes) as ruleset:
        ruleset.restrict(landlockpy.RestrictFlag.TSYNC)


def _filter(seccompy: Any) -> Any:
    """The allow-list as a filter for all threads; what is not on it fails with EPERM."""
    rules = seccompy.Filter(seccompy.Action.ERRNO | errno.EPERM, flags=seccompy.FilterFlag.TSYNC)
    # Its flags lie in memory, where no filter can see them. Libraries that hear ENOSYS take clone() instead.
    rules.errno("clone3", errno.ENOSYS)
    for name in ALLOWED:
        if _known(seccompy, name):
            rules.allow(name)
    for name, rows in guarded(os.getpid()).items():
        for row in rows:
            rules.allow(name, args=[_condition(seccompy, *condition) for condition in row])
    return rules


def _condition(seccompy: Any, index: int, how: str, value: int, mask: int) -> Any:
    if how == "eq":
        return seccompy.ArgCmp(index, seccompy.CmpOp.EQ, value)
    return seccompy.ArgCmp(index, seccompy.CmpOp.MASKED_EQ, value, mask)


def _known(seccompy: Any, name: str) -> bool:
    try:
        seccompy.syscall_nr(name)
    except ValueError:
        return False
    return True


def _holes() -> tuple[str, ...]:
    """What can be done although the walls say they stand: a container may answer a call and not carry it out."""
    try:
        os.close(os.open("/", os.O_RDONLY))
    except PermissionError:
        return ()
    return ("files can be opened all the same",)
