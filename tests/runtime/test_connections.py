"""Connections of a server that hides its sockets: found by port and peer, counted by client, and cut."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import structlog

from cropmark.runtime import connections as module
from cropmark.runtime.connections import Connections, limit_unsent
from tests.builders import wait_until


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


class Peers:
    """Connections to a listener, each with both of its ends."""

    def __init__(self, listener: socket.socket, stack: ExitStack, number: int) -> None:
        self.clients = []
        for _ in range(number):
            self.clients.append(stack.enter_context(socket.create_connection(listener.getsockname())))
            stack.enter_context(listener.accept()[0])

    def cut(self) -> list[bool]:
        """True for each connection that has ended, as its client sees it."""
        return [_has_ended(client) for client in self.clients]


def _has_ended(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True
    except BlockingIOError:
        return False


def port(listener: socket.socket) -> int:
    number: int = listener.getsockname()[1]
    return number


def test_one_connection_is_cut(listener: socket.socket) -> None:
    with ExitStack() as stack:
        peers = Peers(listener, stack, 4)
        connections = Connections(port(listener), 0, lambda _: None)
        connections.cut(peers.clients[2].getsockname())
        connections.cut(("192.0.2.1", 1))  # gone since
        assert connections.sweep() == 1
        assert peers.cut() == [False, False, True, False]
        assert connections.sweep() == 0


@pytest.mark.parametrize(("per_client", "cut"), [(0, 0), (1, 4), (3, 2), (5, 0)])
def test_check_66_connections_beyond_those_of_one_client_are_cut(
    listener: socket.socket, per_client: int, cut: int
) -> None:
    with ExitStack() as stack:
        peers = Peers(listener, stack, 5)
        assert Connections(port(listener), per_client, lambda peer: peer).sweep() == cut
        assert peers.cut() == [False] * (5 - cut) + [True] * cut  # the newest


def test_a_client_without_a_limit_and_other_ports(listener: socket.socket) -> None:
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as other:
        peers, others = Peers(listener, stack, 5), Peers(other, stack, 5)
        assert Connections(port(listener), 1, lambda _: None).sweep() == 0
        assert Connections(port(other), 2, lambda peer: peer).sweep() == 3
        assert (sum(peers.cut()), sum(others.cut())) == (0, 3)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system cuts no stalled connection itself")
def test_accepted_connections_inherit_the_limits(listener: socket.socket) -> None:
    limit_unsent(port(listener), 7.5)
    with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7500
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) > 0


async def test_a_sweep_without_free_descriptors_is_repeated(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection to cut is cut when there are descriptors again."""
    list_descriptors, failures = module._descriptors, [OSError(errno.EMFILE, "Too many open files")] * 2

    def exhausted() -> list[int]:
        if failures:
            raise failures.pop()
        return list_descriptors()

    monkeypatch.setattr(module, "SWEEP_S", 0.01)
    monkeypatch.setattr(module, "_descriptors", exhausted)
    with ExitStack() as stack, structlog.testing.capture_logs() as logs:
        peers = Peers(listener, stack, 2)
        connections = Connections(port(listener), 0, lambda _: None)
        connections.cut(peers.clients[0].getsockname())
        sweeping = asyncio.ensure_future(connections.sweep_forever())
        await asyncio.to_thread(wait_until, lambda: peers.cut()[0])
        sweeping.cancel()
        assert peers.cut() == [True, False]
    assert [line["log_level"] for line in logs] == ["warning"] * 2


def test_the_duplicate_of_a_descriptor_that_is_no_socket_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the check and the duplicate, another thread may close a socket and open a file."""
    monkeypatch.setattr(stat, "S_ISSOCK", lambda _: True)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    before = module._descriptors()
    assert list(module._sockets([descriptor], 1)) == []
    assert module._descriptors() == before
    os.close(descriptor)


def test_a_changed_limit_is_that_of_the_next_sweep(listener: socket.socket) -> None:
    with ExitStack() as stack:
        peers = Peers(listener, stack, 5)
        connections = Connections(port(listener), 0, lambda _: None)
        connections.configure(3, lambda peer: peer)
        assert connections.sweep() == sum(peers.cut()) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much a client has taken")
@pytest.mark.parametrize(
    ("taken_per_s", "is_cut"),
    [
        pytest.param(0, True, id="takes nothing"),
        pytest.param(1, True, id="trickles"),
        pytest.param(module.MIN_BYTES_PER_S - 2000, True, id="too slow in the long run"),
        pytest.param(module.MIN_BYTES_PER_S + 2000, False, id="slow, but fast enough"),
    ],
)
def test_check_66_a_client_that_trickles_is_cut(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, taken_per_s: int, *, is_cut: bool
) -> None:
    """Also if its response is small, and the HTTP server has therefore accepted it as a whole."""
    now_s, taken = 1000.0, 0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    monkeypatch.setattr(module, "_taken_bytes", lambda _: taken)
    monkeypatch.setattr(module, "_untaken_bytes", lambda _: 5000)
    with ExitStack() as stack:
        peers = Peers(listener, stack, 1)
        connections = Connections(port(listener), 0, lambda _: None, stall_s=30)
        cut = 0
        for _ in range(600):
            cut = cut or connections.sweep()
            now_s, taken = now_s + 1, taken + taken_per_s
        assert peers.cut() == [is_cut]
        assert (cut == 1) is is_cut


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much a client has taken")
def test_what_a_client_has_taken(listener: socket.socket) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        with listener.accept()[0] as accepted:
            accepted.setblocking(False)
            sent = 0
            with suppress(BlockingIOError):
                while True:
                    sent += accepted.send(bytes(2**16))
            wait_until(lambda: module._taken_bytes(accepted) > 0)
            assert module._untaken_bytes(accepted) > 0
            client.settimeout(1)
            while sent:
                sent -= len(client.recv(2**20))
            wait_until(lambda: module._untaken_bytes(accepted) == 0)


def test_a_new_connection_from_the_same_port_is_not_slow(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s, taken = 1000.0, 10_000_000
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    monkeypatch.setattr(module, "_taken_bytes", lambda _: taken)
    monkeypatch.setattr(module, "_untaken_bytes", lambda _: 5000)
    with ExitStack() as stack:
        Peers(listener, stack, 1)
        connections = Connections(port(listener), 0, lambda _: None, stall_s=30)
        assert connections.sweep() == 0
        now_s, taken = 1001.0, 100
        assert connections.sweep() == 0


def test_an_idle_connection_is_not_slow(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    with ExitStack() as stack:
        peers = Peers(listener, stack, 1)
        connections = Connections(port(listener), 0, lambda _: None, stall_s=1)
        for now_s in (0.0, 100.0, 200.0):  # noqa: B007 - read by the clock
            assert connections.sweep() == 0
        assert peers.cut() == [False]


def test_a_slow_client_of_a_proxy_ends_no_other_connections_of_its_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as client:
        listening.bind(path)
        listening.listen()
        client.connect(path)
        with listening.accept()[0]:
            connections = Connections(path, 0, lambda _: None, stall_s=1)
            connections.cut(("", 0))
            assert connections.sweep() == 0
            assert not _has_ended(client)
            assert connections.sweep(all_of_them=True) == 1
