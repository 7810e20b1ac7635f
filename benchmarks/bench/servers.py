"""Describes a server: its installation, its start command and its URLs; and a running server."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import machine
from bench.images import Wanted

READY_WITHIN_S = 40.0


class Missing(Exception):
    """The reason why a peer cannot take part."""


@dataclass(frozen=True, slots=True)
class Started:
    """A command with its environment, to be run with the images' folder."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Peer:
    """A server. `path` returns None for a rendition that it cannot produce."""

    name: str
    install: Callable[[], str]
    """Install it where it is missing; its version. Raises Missing."""
    start: Callable[[Path, int, Path], Started]
    """With the images' folder, a port, and a folder of its own."""
    path: Callable[[Wanted], str | None]


@dataclass(frozen=True, slots=True)
class Server:
    """A peer that runs."""

    peer: Peer
    origin: str
    process: subprocess.Popen[bytes]

    @property
    def pids(self) -> list[int]:
        return machine.family(self.process.pid)

    def url(self, wanted: Wanted) -> str | None:
        path = self.peer.path(wanted)
        return None if path is None else self.origin + path


@contextmanager
def running(
    peer: Peer, images: Path, place: Path, extra: Mapping[str, str] | None = None, cores: Sequence[int] = ()
) -> Iterator[Server]:
    """The peer, started and answering; killed at the end. Raises Missing where it does not start."""
    place.mkdir(parents=True, exist_ok=True)
    port = free_port()
    started = peer.start(images, port, place)
    stored = {k: v for k, v in os.environ.items() if not k.startswith("CROPMARK_")}
    with (place / "output").open("wb") as output:
        process = subprocess.Popen(
            started.command,
            stdout=output,
            stderr=output,
            env={**stored, **started.environment, **(extra or {})},
            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
        )
        try:
            origin = f"http://127.0.0.1:{port}"
            _answering(process, origin, place / "output")
            yield Server(peer, origin, process)
        finally:
            _stop(process)


def _answering(process: subprocess.Popen[bytes], origin: str, output: Path) -> None:
    end = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(f"{origin}/", timeout=2).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise Missing(f"it does not start: {output.read_text(errors='replace')[-300:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Its children by their ids too, should they outlive it."""
    pids = machine.family(process.pid)
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in pids[1:]:
        if _is_child_of_nobody(pid):
            os.kill(pid, 9)


def _is_child_of_nobody(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1] == "1"
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
