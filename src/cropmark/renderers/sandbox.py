"""The sandbox of a worker: two layers that confine a decoder under an attacker's control.

The worker enters the sandbox after it has loaded its code. The main layer is seccomp, an allow list of system calls for
every thread. It contains no calls that open, connect, start, signal or inspect anything. The second layer is Landlock
without any allowed path. Before kernel ABI 8 it covers only the calling thread and its later children.
docs/decisions/0041 gives the reasons.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from typing import Any

from cropmark.renderers.tasks import Sandbox

Conditions = list[tuple[int, str, int, int]]
"""Conditions on the arguments of a system call, which must all hold.

Each condition has the index of the argument, "eq" or "masked", the value, and the mask for "masked".
"""

_SOCKET = 0
_STDERR = 2

_CLONE_VM, _CLONE_SIGHAND, _CLONE_THREAD = 0x100, 0x800, 0x10000
_THREAD = _CLONE_VM | _CLONE_SIGHAND | _CLONE_THREAD
_MAP_TYPE, _MAP_PRIVATE = 0x3, 0x2
_PROT_EXEC = 0x4
_PR_SET_NAME = 15

# fmt: off
ALLOWED_CALLS = (
    # messages on its socket, and its sources: only descriptors that it received
    "read", "pread64", "close", "fstat", "lseek",
    # memory
    "brk", "munmap", "mremap", "madvise",
    # its own threads and signals
    "futex", "set_robust_list", "rseq", "gettid", "getpid", "sched_yield", "sched_getaffinity", "getcpu", "membarrier",
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "exit", "exit_group",
    # time, random numbers, facts about the machine
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "getrandom", "sysinfo",
    "getrusage", "uname", "poll", "ppoll",
)
"""The system calls that are allowed with any arguments. A name that the architecture lacks is skipped."""


def conditional_calls(pid: int) -> Mapping[str, tuple[Conditions, ...]]:
    """The system calls that are allowed only with certain arguments, by their name.

    The arguments must meet all conditions of one row. `pid` is the id of the process that makes the calls.
    """
    return {
        "recvmsg":  ([(0, "eq", _SOCKET, 0)],),
        "recvfrom": ([(0, "eq", _SOCKET, 0)],),
        "sendmsg":  ([(0, "eq", _SOCKET, 0)],),
        "sendto":   ([(0, "eq", _SOCKET, 0)],),
        # Never to a source: it may be open for writing, as temporary files are.
        "write":    ([(0, "eq", _STDERR, 0)], [(0, "eq", 1, 0)]),
        "writev":   ([(0, "eq", _STDERR, 0)], [(0, "eq", 1, 0)]),
        # Never shared, for the same reason; and never executable.
        "mmap":     ([(2, "masked", 0, _PROT_EXEC), (3, "masked", _MAP_PRIVATE, _MAP_TYPE)],),
        "mprotect": ([(2, "masked", 0, _PROT_EXEC)],),
        "clone":    ([(0, "masked", _THREAD, _THREAD)],),
        "tgkill":   ([(0, "eq", pid, 0)],),               # abort()
        "prctl":    ([(0, "eq", _PR_SET_NAME, 0)],),      # a thread names itself
        "prlimit64": ([(0, "eq", 0, 0), (2, "eq", 0, 0)],),  # its own limits, read only
    }
# fmt: on


def confine(policy: Sandbox) -> tuple[str, ...]:
    """Enter the sandbox; returns the protections that this system lacks, or nothing if the policy is OFF.

    A process cannot leave the sandbox, and cannot load code in it. Entering takes about 5 ms.
    """
    if policy is Sandbox.OFF:
        return ()
    if sys.platform != "linux":
        return ("seccomp and Landlock, which only Linux has",)
    import resource  # noqa: PLC0415 - like the two imports below: they exist on Linux only

    import landlockpy  # noqa: PLC0415
    import seccompy  # noqa: PLC0415

    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    # In this order: the first call of each library opens libc, and the loaded filter forbids Landlock's calls.
    seccomp = seccompy.supported() and seccompy.flag_supported(seccompy.FilterFlag.TSYNC)
    landlock = landlockpy.supported()
    if landlock:
        _forbid_paths(landlockpy)
    if seccomp:
        _seccomp_filter(seccompy).load()
    missing = [name for name, there in (("seccomp", seccomp), ("Landlock", landlock)) if not there]
    return (*missing, *_open_holes())


def preload() -> None:
    """Import the libraries that confine() needs, in the process that forks workers."""
    if sys.platform == "linux":
        import landlockpy  # noqa: F401, PLC0415
        import seccompy  # noqa: F401, PLC0415


def _forbid_paths(landlockpy: Any) -> None:
    scopes = landlockpy.Scope.ABSTRACT_UNIX_SOCKET | landlockpy.Scope.SIGNAL
    with landlockpy.Ruleset(scoped=scopes) as ruleset:
        ruleset.restrict(landlockpy.RestrictFlag.TSYNC)


def _seccomp_filter(seccompy: Any) -> Any:
    """The allow list as a seccomp filter for all threads. Calls that are not allowed fail with EPERM."""
    rules = seccompy.Filter(seccompy.Action.ERRNO | errno.EPERM, flags=seccompy.FilterFlag.TSYNC)
    # The flags of clone3() are in memory, where a filter cannot check them. On ENOSYS, libraries use clone() instead.
    rules.errno("clone3", errno.ENOSYS)
    for name in ALLOWED_CALLS:
        if _is_known(seccompy, name):
            rules.allow(name)
    for name, rows in conditional_calls(os.getpid()).items():
        for row in rows:
            rules.allow(name, args=[_condition(seccompy, *condition) for condition in row])
    return rules


def _condition(seccompy: Any, index: int, how: str, value: int, mask: int) -> Any:
    if how == "eq":
        return seccompy.ArgCmp(index, seccompy.CmpOp.EQ, value)
    return seccompy.ArgCmp(index, seccompy.CmpOp.MASKED_EQ, value, mask)


def _is_known(seccompy: Any, name: str) -> bool:
    try:
        seccompy.syscall_nr(name)
    except ValueError:
        return False
    return True


def _open_holes() -> tuple[str, ...]:
    """A message for each forbidden action that still works.

    In some containers, the system calls that enter the sandbox succeed without any effect.
    """
    try:
        os.close(os.open("/", os.O_RDONLY))
    except PermissionError:
        return ()
    return ("files can be opened despite the sandbox",)
