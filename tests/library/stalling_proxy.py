"""A TCP proxy in front of a database, which can hang or refuse connections."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class StallingProxy:
    """Forwards connections to a port of the loopback address."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._flows = threading.Event()
        self._flows.set()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._accept_in_thread()

    def stall(self) -> None:
        """Accept connections and bytes, and forward none."""
        self._flows.clear()

    def refuse(self) -> None:
        """Close every connection and refuse new ones, as if the server had stopped."""
        _shut(self._listener)
        for connection in self._open:
            _shut(connection)
        self._open.clear()

    def resume(self) -> None:
        """Forward again, also the bytes that were held back."""
        if self._listener.fileno() < 0:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._accept_in_thread()
        self._flows.set()

    def close(self) -> None:
        self._flows.set()
        self.refuse()

    def _accept_in_thread(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(self._target)
                self._open += [client, server]
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                self._flows.wait()
                sink.sendall(piece)
        _shut(sink)


@contextmanager
def stalling_proxy(target_port: int) -> Iterator[StallingProxy]:
    """A started proxy, closed at the end."""
    proxy = StallingProxy(target_port)
    try:
        yield proxy
    finally:
        proxy.close()


def _shut(connection: socket.socket) -> None:
    """End both directions, which also wakes the threads that wait for it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
