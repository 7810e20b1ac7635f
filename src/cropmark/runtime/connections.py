"""Finds, counts and ends the connections that the HTTP server has accepted.

The HTTP server gives no access to its sockets. So a connection is found among the descriptors of this process, by its
port and its peer (the address and port of the other end). To end a connection, its socket is shut down: the kernel
discards the unsent bytes, and the HTTP server gets an error and closes the connection. The kernel also reports how many
bytes a client has received.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import stat
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from termios import TIOCOUTQ
from typing import Final

import structlog

log = structlog.get_logger("cropmark.connections")

SWEEP_S: Final = 1.0
"""Seconds between two checks of all connections."""
UNSENT_BYTES: Final = 256 * 1024
"""Bytes of a response that the kernel accepts before it sends them, in addition to those on their way to the client."""

_DESCRIPTORS: Final = Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: close() discards the unsent bytes, and resets the connection."""
MIN_BYTES_PER_S: Final = 16 * 1024
"""Lowest average speed at which a client may take a response, after a grace period as long as the write timeout."""
_BYTES_ACKED: Final = 120
"""Offset of tcpi_bytes_acked in struct tcp_info of linux/tcp.h."""

_WATCHED: Final = re.compile(r"^tfd:.* ino:(\w+)", re.MULTILINE)
"""Finds the inode of each file that an epoll waits for."""

Peer = tuple[str, int]
_NO_PEER: Final = ("", 0)
"""The peer of every connection of a Unix domain socket."""


@dataclass(frozen=True, slots=True)
class _Sending:
    """A connection with bytes that the client has not received yet.

    `since_s` is the time when this was first seen, `taken` the number of bytes that the client had received by then.
    """

    since_s: float
    taken: int


class Connections:
    """The connections that this process accepted on one port, or on one Unix domain socket."""

    def __init__(
        self, at: int | str, per_client: int, client_of: Callable[[str], str | None], stall_s: float | None = None
    ) -> None:
        """`at` is the local port, or the path of the Unix domain socket.

        `per_client` is the number of connections that one client may have; 0: no limit. `client_of` returns the client
        for the address of a peer; None if the peer has no limit. A client that receives less than MIN_BYTES_PER_S is
        disconnected after `stall_s` seconds; None: never. A Unix domain socket has no limits, because all of its
        connections come from the proxy.
        """
        self._at = at
        self._to_cut: set[Peer] = set()
        self._sending: dict[Peer, _Sending] = {}
        self.configure(per_client, client_of, stall_s)

    def configure(self, per_client: int, client_of: Callable[[str], str | None], stall_s: float | None = None) -> None:
        """Replace the limits. The parameters are those of __init__()."""
        self._stall_s = None if isinstance(self._at, str) else stall_s
        self._per_client = per_client
        self._client_of = client_of

    def cut(self, peer: tuple[str, int]) -> None:
        """End the connection with `peer` at the next sweep, within a second.

        Has no effect on a Unix domain socket, where connections have no peer address.
        """
        if peer != _NO_PEER:
            self._to_cut.add(peer)

    async def sweep_forever(self) -> None:
        """Call sweep() in a thread every second, even if a call fails."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await asyncio.to_thread(self.sweep)
            except Exception:  # such as an OSError, because all descriptors are in use
                log.warning("the connections could not be checked", exc_info=True)

    def sweep(self, *, all_of_them: bool = False) -> int:
        """End the connections that break a limit or were passed to cut(); returns the number of ended connections.

        Ends the connections of clients that receive too slowly. If a client has too many connections, those with the
        highest descriptors are ended, usually the newest. `all_of_them`: ends all connections. Raises OSError.
        """
        descriptors = _descriptors()
        to_cut, self._to_cut = self._to_cut, set()
        sending: dict[Peer, _Sending] = {}
        clients: Counter[str] = Counter()
        cut = slow = 0
        for connection in _sockets(descriptors, self._at):
            with suppress(OSError):  # not connected any more
                peer = _NO_PEER if isinstance(self._at, str) else connection.getpeername()[:2]
                is_slow = self._is_slow(connection, peer, sending)
                is_beyond = self._is_beyond_limit(peer, clients)
                if all_of_them or peer in to_cut or is_slow or is_beyond:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    connection.shutdown(socket.SHUT_RDWR)
                    cut, slow = cut + 1, slow + is_slow
        self._sending = sending
        if slow:
            log.info("clients that read too slowly were disconnected", connections=slow)
        return cut

    def _is_beyond_limit(self, peer: Peer, clients: Counter[str]) -> bool:
        """Count a connection of the peer's client in `clients`; returns True if the client has too many."""
        client = self._client_of(peer[0]) if self._per_client else None
        if client is None:
            return False
        clients[client] += 1
        return clients[client] > self._per_client

    def _is_slow(self, connection: socket.socket, peer: Peer, sending: dict[Peer, _Sending]) -> bool:
        """True if the client receives its response too slowly. Records its progress in `sending` for the next sweep."""
        if self._stall_s is None or sys.platform != "linux" or not _untaken_bytes(connection):
            return False
        now_s, taken = time.monotonic(), _taken_bytes(connection)
        begun = self._sending.get(peer)
        if begun is None or taken < begun.taken:  # less: a new connection from the same port
            begun = _Sending(now_s, taken)
        sending[peer] = begun
        return now_s - begun.since_s > self._stall_s + (taken - begun.taken) / MIN_BYTES_PER_S


def limit_unsent(port: int, stall_s: float) -> None:
    """Limit the unsent bytes in the kernel, and end connections with clients that receive nothing for `stall_s`.

    Both limits are options of the listening socket on `port`, which its connections inherit. Options that the system
    does not have are left out.
    """
    for listener in _sockets(_descriptors(), port, listening=True):
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stall_s * 1000))


def may_accept(listener: socket.socket) -> bool:
    """True if this process waits for connections of the socket `listener`, which other processes may share.

    Reads the files that the process's epolls watch. Also True if the system does not report them.
    Source: proc_pid_fdinfo(5)
    """
    watched: set[str] = set()
    for number in _descriptors():
        with suppress(OSError):  # closed since it was listed
            if str((_DESCRIPTORS / str(number)).readlink()) == "anon_inode:[eventpoll]":
                watched.update(_WATCHED.findall(Path(f"/proc/self/fdinfo/{number}").read_text()))
    return not watched or f"{os.fstat(listener.fileno()).st_ino:x}" in watched


def _untaken_bytes(connection: socket.socket) -> int:
    """The number of bytes that were sent to the kernel, but not yet received by the client. Source: tcp(7), SIOCOUTQ"""
    count: int = struct.unpack("i", ioctl(connection, TIOCOUTQ, bytes(4)))[0]
    return count


def _taken_bytes(connection: socket.socket) -> int:
    """The number of bytes that the client has received on this connection."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED + 8)
    count: int = struct.unpack_from("Q", info, _BYTES_ACKED)[0]
    return count


def _descriptors() -> list[int]:
    return sorted(int(each.name) for each in _DESCRIPTORS.iterdir())


def _sockets(descriptors: list[int], at: int | str, *, listening: bool = False) -> Iterator[socket.socket]:
    """The connected sockets with the local port or path `at`; with `listening`, the listening ones instead.

    Yields a duplicate of each socket, and closes it when the next socket is requested.
    """
    for descriptor in descriptors:
        with suppress(OSError):  # closed since it was listed, or not connected any more
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            with _duplicate(descriptor) as found:
                if _is_at(found, at, listening=listening):
                    yield found


def _duplicate(descriptor: int) -> socket.socket:
    """A socket object with a duplicate of the descriptor. Raises OSError."""
    duplicate = os.dup(descriptor)
    try:
        return socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        raise


def _is_at(found: socket.socket, at: int | str, *, listening: bool) -> bool:
    families = (socket.AF_UNIX,) if isinstance(at, str) else (socket.AF_INET, socket.AF_INET6)
    if found.family not in families or found.type != socket.SOCK_STREAM:
        return False
    is_listening = bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    name = found.getsockname()
    return bool((name if isinstance(at, str) else name[1]) == at) and is_listening == listening
