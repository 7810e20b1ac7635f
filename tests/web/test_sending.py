"""check_66: clients that read slowly hold little memory, and are disconnected."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from PIL import Image

from cropmark.model.problems import Overloaded
from cropmark.ports import OpenSource, Record, SourceVersion, StoredRendition
from cropmark.web.client_ip import ClientIp
from cropmark.web.ranges import ByteRange
from cropmark.web.request import ClientDisconnected, Message, Scope
from cropmark.web.response import send_response
from cropmark.web.sending import PIECE_BYTES, WHOLE_BYTES, BodySender, SendLimits
from tests.builders import wait_until
from tests.processes import resident_bytes
from tests.web.server_process import Running, running

SIDE = 1600
"""Side of a PNG of noise: 7.7 MB."""
DEFAULT = SendLimits()
CLIENT = ("192.0.2.1", 4000)
BODY = bytes(range(256)) * (5 * WHOLE_BYTES // 512)
"""Ten pieces."""


class Recorder:
    """A client that takes pieces; after `takes` of them it takes nothing."""

    def __init__(self, takes: int = 1000) -> None:
        self.takes = takes
        self.status = 0
        self.pieces: list[bytes] = []
        self.is_complete = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        if len(self.pieces) >= self.takes:
            await asyncio.Event().wait()
        self.pieces.append(message["body"])
        self.is_complete = not message.get("more_body", False)


def scope(client: str = "192.0.2.1") -> Scope:
    return {"client": (client, "4000"), "headers": []}  # the HTTP server writes the port as text


def sender(limits: SendLimits = DEFAULT, cuts: list[tuple[str, int]] | None = None) -> BodySender:
    return BodySender(limits, ClientIp(), ([] if cuts is None else cuts).append)


async def test_a_body_is_sent_in_pieces() -> None:
    for body in (b"", b"x", BODY[:WHOLE_BYTES], BODY[: WHOLE_BYTES + 1], BODY):
        client, sending = Recorder(), sender()
        await sending.send(scope(), client.send, [], '"a"', body)
        assert (b"".join(client.pieces), client.is_complete) == (body, True)
        assert len(body) <= WHOLE_BYTES or max(map(len, client.pieces)) <= PIECE_BYTES
        assert (sending.bytes, sending.responses) == (0, 0)


@pytest.mark.parametrize("part", [None, ByteRange(5, PIECE_BYTES + 9, len(BODY)), ByteRange(7, 8, len(BODY))])
async def test_a_file_is_sent_in_pieces(tmp_path: Path, part: ByteRange | None) -> None:
    (tmp_path / "a").write_bytes(BODY)
    client, descriptor = Recorder(), os.open(tmp_path / "a", os.O_RDONLY)
    with closing(OpenSource.from_fd(descriptor, len(BODY), SourceVersion("files:a", "1"))) as opened:
        await sender().send_file(scope(), client.send, [], opened, part, status=200 if part is None else 206)
    assert b"".join(client.pieces) == (BODY if part is None else BODY[part.start : part.end])
    assert (client.status, client.is_complete) == (200 if part is None else 206, True)


async def test_a_stored_rendition_is_sent_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"head" + BODY)
    stored = StoredRendition.from_fd(os.open(tmp_path / "a", os.O_RDONLY), 4, Record("image/png", '"a"', len(BODY)))
    client, sending = Recorder(), sender(SendLimits(bytes=WHOLE_BYTES))
    with closing(stored):
        await sending.send_stored(scope(), client.send, [], stored, status=203)
    assert (client.status, b"".join(client.pieces), client.is_complete) == (203, BODY, True)


async def test_check_66_a_client_that_takes_nothing_is_cut() -> None:
    cuts: list[tuple[str, int]] = []
    sending = sender(SendLimits(stall_s=0.05), cuts)
    with pytest.raises(ClientDisconnected):
        await sending.send(scope(), Recorder(takes=1).send, [], '"a"', BODY)
    assert (cuts, sending.bytes, sending.responses) == ([CLIENT], 0, 0)


async def test_check_66_many_responses_hold_one_body_once() -> None:
    sending = sender(SendLimits(bytes=len(BODY)))
    bodies = [bytes(bytearray(BODY)) for _ in range(20)]
    clients = [Recorder(takes=1) for _ in bodies]
    tasks = []
    for client, body in zip(clients, bodies, strict=True):
        shared = sending.shared('"a"', body)
        tasks.append(asyncio.ensure_future(sending.send(scope(), client.send, [], '"a"', shared)))
        await asyncio.sleep(0)
        assert shared is bodies[0]
    assert (sending.bytes, sending.responses) == (len(BODY), 20)
    with pytest.raises(Overloaded, match="too many large responses"):
        await sending.send(scope(), Recorder().send, [], '"other"', BODY)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (sending.bytes, sending.responses) == (0, 0)
    assert sending.shared('"a"', bodies[1]) is bodies[1]


async def test_check_66_the_large_responses_of_one_client_are_bounded() -> None:
    sending = sender(SendLimits(per_client=2))
    tasks = [asyncio.ensure_future(sending.send(scope(), Recorder(0).send, [], '"a"', BODY)) for _ in range(2)]
    await asyncio.sleep(0)
    refused, other = Recorder(), Recorder()
    with pytest.raises(Overloaded, match="to this client"):
        await sending.send(scope(), refused.send, [], '"a"', BODY)
    assert refused.status == 0
    await sending.send(scope("192.0.2.2"), other.send, [], '"a"', BODY)
    assert other.is_complete
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_check_66_a_proxy_on_this_machine_is_not_one_client() -> None:
    sending = sender(SendLimits(per_client=1))
    tasks = [asyncio.ensure_future(sending.send(scope("127.0.0.1"), Recorder(0).send, [], '"a"', BODY)) for _ in "ab"]
    await asyncio.sleep(0)
    assert sending.responses == 2
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("length", [0, WHOLE_BYTES, WHOLE_BYTES + 1, len(BODY)])
async def test_check_66_the_response_of_a_page_is_sent_in_pieces_too(length: int) -> None:
    """PixLab's blobs, drawings and lists of the management API are such bodies."""
    client, sending = Recorder(), sender()
    send = sending.bounded(scope(), client.send)
    await send_response(send, 201, [], BODY[:length])
    assert (client.status, b"".join(client.pieces), client.is_complete) == (201, BODY[:length], True)
    assert len(client.pieces) == (1 if length <= WHOLE_BYTES else -(-length // PIECE_BYTES))
    assert (sending.bytes, sending.responses) == (0, 0)


async def test_check_66_the_response_of_a_page_is_503_beyond_the_limit() -> None:
    client = Recorder()
    await send_response(sender(SendLimits(bytes=WHOLE_BYTES)).bounded(scope(), client.send), 200, [], BODY)
    assert (client.status, client.is_complete) == (503, True)
    assert b"too many large responses" in client.pieces[0]


async def test_check_66_a_client_that_does_not_take_the_response_of_a_page_is_cut() -> None:
    cuts: list[tuple[str, int]] = []
    sending = sender(SendLimits(stall_s=0.05), cuts)
    await send_response(sending.bounded(scope(), Recorder(takes=1).send), 200, [], BODY)
    assert (cuts, sending.bytes) == ([CLIENT], 0)


async def test_pieces_and_small_bodies_of_a_page_pass_unchanged() -> None:
    client = Recorder()
    send = sender().bounded(scope(), client.send)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for piece in (b"a", BODY, b""):
        await send({"type": "http.response.body", "body": piece, "more_body": piece != b""})
    assert (client.pieces, client.is_complete) == ([b"a", BODY, b""], True)


@pytest.mark.parametrize("length", [3000, len(BODY)])
async def test_a_file_that_is_read_in_parts_is_sent_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """One pread() may return fewer bytes than it was asked for."""
    (tmp_path / "a").write_bytes(BODY[:length])
    client, descriptor, pread = Recorder(), os.open(tmp_path / "a", os.O_RDONLY), os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, at: pread(file, min(size, 1000), at))
    with closing(OpenSource.from_fd(descriptor, length, SourceVersion("files:a", "1"))) as opened:
        await sender().send_file(scope(), client.send, [], opened)
    assert b"".join(client.pieces) == BODY[:length]
    assert client.is_complete


# ---------------------------------------------------------------------------------------------- a real server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("slow")
    (folder / "images").mkdir()
    noise = Image.frombytes("RGB", (SIDE, SIDE), os.urandom(SIDE * SIDE * 3))
    noise.save(folder / "images/noise.png", compress_level=0)
    # Entries of more than 2 MiB do not fit the memory cache. They are sent from the disk cache.
    environment = {"CROPMARK_WRITE_TIMEOUT_S": "3", "CROPMARK_MEMORY_CACHE_BYTES": str(16 * 2**20)}
    with running(str(folder / "images"), cache=folder / "cache", environment=environment) as started:
        yield started


def connected(server: Running, path: str, room: int = 4096) -> socket.socket:
    """A connection that has requested a path, with `room` bytes for a response."""
    host, port = server.address.removeprefix("http://").split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    client.connect((host, int(port)))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return client


def sockets(server: Running) -> int:
    found = 0
    for link in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            found += os.readlink(link).startswith("socket:")
    return found


RENDERED = f"/fastly/noise.png?width={SIDE - 1}&format=png"


@pytest.mark.parametrize(("path", "tier"), [(RENDERED, "disk"), ("/fastly/noise.png?format=png&width=600", "memory")])
def test_check_66_slow_readers_hold_little_and_are_disconnected(server: Running, path: str, tier: str) -> None:
    expected = server.get(path).content
    assert len(expected) > 3 * WHOLE_BYTES
    wait_until(lambda: f"hit-{tier}" in server.get(path).headers["server-timing"])
    assert server.get(path).content == expected
    sockets_before, rss_before = sockets(server), resident_bytes(server.process.pid)
    clients = [connected(server, path) for _ in range(40)]
    try:
        time.sleep(1)
        assert sockets(server) >= 40
        grown = resident_bytes(server.process.pid) - rss_before
        assert grown < 45 * 2**20, f"{grown / 2**20:.0f} MiB"  # 40 copies of the larger one are 300 MiB
        wait_until(lambda: sockets(server) <= sockets_before, 25)  # the default timeout is 30 s
    finally:
        for client in clients:
            client.close()
    assert server.get(path).content == expected


SMALL = "/fastly/noise.png?width=270&format=png"


def test_check_66_a_client_that_trickles_a_small_response_is_disconnected(server: Running) -> None:
    body = server.get(SMALL).content
    assert WHOLE_BYTES // 2 < len(body) <= WHOLE_BYTES
    with connected(server, SMALL) as client:
        client.settimeout(10)
        received = 0

        def has_ended() -> bool:
            nonlocal received
            time.sleep(0.1)
            try:
                piece = client.recv(400)
            except ConnectionResetError:
                return True
            received += len(piece)
            return not piece

        wait_until(has_ended, 25)
        assert received < len(body)


def test_check_66_a_client_that_reads_steadily_gets_everything(server: Running) -> None:
    expected = server.get(RENDERED).content
    with connected(server, RENDERED, 2**16) as client:
        client.settimeout(10)
        received = b""
        while not received.endswith(expected[-100:]):
            received += client.recv(2**20)
            time.sleep(0.0005)
    assert received.endswith(expected)


def test_check_66_a_stop_does_not_wait_for_clients_that_take_nothing(server: Running, tmp_path: Path) -> None:
    environment = {"CROPMARK_SHUTDOWN_TIMEOUT_S": "0.2"}
    images = server.log.parent / "images"
    with running(str(images), cache=tmp_path / "cache", environment=environment) as other:
        assert other.get(RENDERED).status_code == 200
        with connected(other, RENDERED):
            time.sleep(0.5)
            other.process.terminate()
            assert other.process.wait(8) == 0


def test_check_66_further_connections_wait(server: Running, tmp_path: Path) -> None:
    images = server.log.parent / "images"
    with running(str(images), cache=tmp_path / "cache", environment={"CROPMARK_MAX_CONNECTIONS": "2"}) as other:
        first, second, third = (connected(other, RENDERED) for _ in range(3))
        with first, second, third:
            for client in (first, second):
                client.settimeout(10)
                assert client.recv(1)
            third.settimeout(0.5)
            with pytest.raises(TimeoutError):
                third.recv(1)
            first.close()
            third.settimeout(10)
            assert third.recv(1)


async def test_small_files_are_sent_in_one_piece_and_not_counted(tmp_path: Path) -> None:
    """As small bodies are."""
    (tmp_path / "a").write_bytes(BODY)
    version = SourceVersion("files:a", "1")
    sending = sender(SendLimits(bytes=1))
    for part in (ByteRange(3, 3 + WHOLE_BYTES, len(BODY)), ByteRange(len(BODY) - 1, len(BODY), len(BODY))):
        client = Recorder()
        with closing(OpenSource.from_fd(os.open(tmp_path / "a", os.O_RDONLY), len(BODY), version)) as opened:
            await sending.send_file(scope(), client.send, [], opened, part, status=206)
        assert (client.status, client.pieces) == (206, [BODY[part.start : part.end]])
    whole = OpenSource.from_fd(os.open(tmp_path / "a", os.O_RDONLY), len(BODY), version)
    with closing(whole), pytest.raises(Overloaded, match="too many large responses"):
        await sending.send_file(scope(), Recorder().send, [], whole)
