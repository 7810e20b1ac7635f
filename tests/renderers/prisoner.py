"""A worker that tries to escape: for the source `probe` it tries all attempts from three threads."""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import queue
import resource
import signal
import socket
import tempfile
import threading
from collections.abc import Callable

import seccompy

from cropmark.model.formats import Format
from cropmark.ports import Facts, Rendered
from cropmark.renderers.tasks import Setup, SourceBytes, Task, TaskHandler, TaskResult
from cropmark.renderers.worker import main
from cropmark.runtime.reads import all_bytes

JPEG = b"\xff\xd8\xff\xe0"
LIBC = ctypes.CDLL(None, use_errno=True)
FRONT = os.getppid()

CLONE_VM, CLONE_VFORK, CLONE_NEWUSER = 0x100, 0x4000, 0x10000000
PTRACE_ATTACH = 16


def call(name: str, *arguments: int) -> int:
    """A direct system call, as a compromised decoder would make it."""
    number = seccompy.syscall_nr(name)
    results = int(LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(a) for a in arguments)))
    if results < 0:
        raise OSError(ctypes.get_errno(), name)
    return results


def connected() -> object:
    end = socket.socket(socket.AF_UNIX)
    end.connect("/run/dbus/system_bus_socket")
    return end


def forked() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return pid


def attempts(writable: int) -> dict[str, Callable[[], object]]:
    here = ctypes.create_string_buffer(64)
    address = ctypes.addressof(here)
    page = mmap.PAGESIZE
    return {
        "open /etc/passwd": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "open itself by number": lambda: os.open("/proc/self/environ", os.O_RDONLY),
        "open the front's memory": lambda: os.open(f"/proc/{FRONT}/mem", os.O_RDWR),
        "open by openat2": lambda: call("openat2", -100, address, address, 24),
        "list /": lambda: os.listdir("/"),
        "stat /etc": lambda: os.stat("/etc"),
        "create a file": lambda: os.open("/tmp/cropmark-was-here", os.O_CREAT | os.O_WRONLY),
        "remove a file": lambda: os.unlink("/nonexistent"),
        "change directory": lambda: os.chdir("/"),
        "socket": lambda: socket.socket(),
        "unix socket": connected,
        "socket pair": lambda: socket.socketpair(),
        "fork": forked,
        "vfork": lambda: call("clone", CLONE_VM | CLONE_VFORK | signal.SIGCHLD, 0, 0, 0, 0),
        "clone3": lambda: call("clone3", address, 64),
        "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "kill the front": lambda: os.kill(FRONT, 0),
        "kill every process": lambda: os.kill(-1, 0),
        "kill a thread of the front": lambda: call("tgkill", FRONT, FRONT, 0),
        "signal with a value": lambda: call("rt_sigqueueinfo", FRONT, 0, address),
        "pidfd": lambda: os.pidfd_open(FRONT),
        "ptrace": lambda: call("ptrace", PTRACE_ATTACH, FRONT, 0, 0),
        "read the front's memory": lambda: call("process_vm_readv", FRONT, address, 1, address, 1, 0),
        "write to a source": lambda: os.write(writable, b"owned"),
        "pwrite to a source": lambda: os.pwrite(writable, b"owned", 0),
        "truncate a source": lambda: os.truncate(writable, 0),
        "map a source for writing": lambda: mmap.mmap(writable, 4, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
        "executable memory": lambda: mmap.mmap(-1, page, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_EXEC),
        "anonymous file": lambda: os.memfd_create("x"),
        "pipe": lambda: os.pipe(),
        "raise its CPU limit": lambda: call("prlimit64", 0, resource.RLIMIT_CPU, address, 0),
        "raise its priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, 0),
        "user namespace": lambda: call("unshare", CLONE_NEWUSER),
        "io_uring": lambda: call("io_uring_setup", 4, address),
        "bpf": lambda: call("bpf", 0, address, 64),
        "userfaultfd": lambda: call("userfaultfd", 0),
        "keys": lambda: call("keyctl", 0, 0, 0, 0, 0),
        "dumpable": lambda: call("prctl", 4, 1, 0, 0, 0),
        "mount": lambda: call("mount", address, address, address, 0, 0),
    }


def outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    except Exception as error:  # noqa: BLE001 - the test must see every error
        return repr(error)
    return "done"


def load_handler(setup: Setup) -> TaskHandler:
    """A handler with a thread older than the sandbox, as numpy and onnxruntime may start."""
    writable, path = tempfile.mkstemp()
    os.unlink(path)
    os.pwrite(writable, b"mine", 0)
    probes: queue.Queue[Callable[[], None]] = queue.Queue()
    threading.Thread(target=lambda: [probes.get()() for _ in iter(int, 1)], daemon=True).start()

    def in_thread(run: Callable[[Callable[[], None]], object]) -> dict[str, str]:
        results: dict[str, str] = {}
        done = threading.Event()

        def probe() -> None:
            results.update({name: outcome(attempt) for name, attempt in attempts(writable).items()})
            done.set()

        run(probe)
        done.wait()
        return results

    def work(task: Task, sources: SourceBytes, grant_bytes: int) -> TaskResult:
        assert sources[0] is not None
        if all_bytes(sources[0]) == b"abort":
            os.abort()
        results = {
            "first": in_thread(lambda probe: probe()),
            "older": in_thread(probes.put),
            "newer": in_thread(lambda probe: threading.Thread(target=probe).start()),
            "source": {"content": os.pread(writable, 100, 0).decode()},
            "environ": dict(os.environ),
        }
        return Rendered(JPEG + json.dumps(results).encode(), Format.JPEG, Facts())

    return work


if __name__ == "__main__":
    main(load_handler)
