"""The parts of a fleet: nginx, Redis, PostgreSQL, an S3 server and cropmark servers. Each can be killed and started."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import obstore
from tests.deploy.nginx import running_nginx
from tests.library import postgres
from tests.library.builders import Shop, create_shop
from tests.library.redis_server import redis_server
from tests.ports import free_port
from tests.processes import children, is_running
from tests.s3_server import S3Server, s3_server
from tests.web.server_process import Running, running

from cropmark.caches.shared import TIMES
from cropmark.runtime.object_store import open_store

PICTURES: Final = "pictures"
"""The private bucket of the site /shop."""
CACHE: Final = "cache"
LIBRARY: Final = "library"
CONFIG: Final = """
[[site]]
prefix = "/shop"
dialect = "fastly"
source = "s3://pictures/web"
"""


@dataclass(slots=True)
class Outage:
    """The time from a kill until the part is back, by time.monotonic()."""

    part: str
    from_s: float
    killed_s: float = float("inf")
    until_s: float = float("inf")


class Part:
    """A part of the fleet. `open_part` starts it; the end of its context kills it, after `kill` if that is given.

    `save` is called before the kill, while the part still runs.
    """

    def __init__(
        self,
        name: str,
        open_part: Callable[[], AbstractContextManager[Any]],
        kill: Callable[[Any], None] | None = None,
        save: Callable[[Any], None] | None = None,
    ) -> None:
        self.name = name
        self.value: Any = None
        self._open, self._kill, self._save, self._stack = open_part, kill, save, ExitStack()

    def start(self) -> None:
        self.value = self._stack.enter_context(self._open())

    def save(self) -> None:
        if self._save is not None:
            self._save(self.value)

    def kill(self) -> None:
        if self._kill is not None:
            self._kill(self.value)
        self._stack.close()

    def stop(self) -> None:
        self._stack.close()


@dataclass(slots=True)
class Fleet:
    """All parts, by name, and the addresses of the servers. `one` and `two` are the servers."""

    folder: Path
    images: Path
    parts: dict[str, Part] = field(default_factory=dict)
    outages: list[Outage] = field(default_factory=list)
    shop: Shop | None = None
    saved: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """The objects of the bucket when it was killed: this S3 server has them in memory only."""
    logs: list[str] = field(default_factory=list)
    """The logs of servers that have ended."""
    orphans: int = 0
    """Renderers that outlived their killed server."""
    addresses: dict[str, str] = field(default_factory=dict)
    """The base URLs of nginx and of each server."""

    def kill(self, name: str, down_s: float) -> Outage:
        """Kill a part, and start it again after `down_s` seconds."""
        self.parts[name].save()
        outage = Outage(name, time.monotonic())
        self.outages.append(outage)
        self.parts[name].kill()
        outage.killed_s = time.monotonic()
        time.sleep(down_s)
        self.parts[name].start()
        outage.until_s = time.monotonic()
        return outage

    def is_away(self, name: str) -> bool:
        return any(outage.part == name and outage.until_s == float("inf") for outage in self.outages)


@contextmanager
def started(folder: Path, images: Path, *, renderers: int = 1) -> Iterator[Fleet]:
    """The fleet, started in a folder that other users can reach. Its logs are read at the end."""
    fleet = Fleet(folder, images)
    ports = {name: free_port() for name in ("redis", "postgres", "one", "two", "nginx")}
    (folder / "redis").mkdir()
    (folder / "cropmark.toml").write_text(CONFIG)
    parts = [
        Part("redis", lambda: redis_server(ports["redis"], folder / "redis")),
        Part("postgres", lambda: postgres.cluster(folder / "postgres", ports["postgres"])),
        Part("bucket", lambda: _bucket(fleet), save=lambda s3: fleet.saved.update(_objects(s3))),
    ]
    with ExitStack() as stack:
        for part in parts:
            _add(fleet, part, stack)
        server = f"postgresql://{postgres.USER}@127.0.0.1:{ports['postgres']}"
        database = postgres.new_database(server, "fleet")
        fleet.shop = create_shop(folder / "setup", database)
        environment = _environment(fleet, database, ports)
        for name in ("one", "two"):
            _add(fleet, _server(fleet, name, ports[name], environment, renderers), stack)
        servers = [f"127.0.0.1:{ports[name]}" for name in ("one", "two")]
        (folder / "nginx").mkdir()
        _add(fleet, Part("nginx", lambda: _nginx(fleet, servers, ports["nginx"]), _kill_nginx), stack)
        fleet.addresses = {name: f"http://127.0.0.1:{ports[name]}" for name in ("nginx", "one", "two")}
        yield fleet


def _add(fleet: Fleet, part: Part, stack: ExitStack) -> None:
    fleet.parts[part.name] = part
    stack.callback(part.stop)
    part.start()


def _environment(fleet: Fleet, database: str, ports: Mapping[str, int]) -> dict[str, str]:
    s3: S3Server = fleet.parts["bucket"].value
    return {
        **s3.environment,
        "CROPMARK_REDIS_URL": f"redis://127.0.0.1:{ports['redis']}/0",
        "CROPMARK_SHARED_CACHE": f"s3://{CACHE}/results",
        "CROPMARK_SHARED_CACHE_TIMEOUT_S": "3",
        "CROPMARK_DATABASE_URL": database,
        "CROPMARK_LIBRARY_STORE": f"s3://{LIBRARY}/files",
        "CROPMARK_MANAGEMENT_REQUESTS_PER_S": "0",
        "CROPMARK_CONTENTSTACK__RATE_LIMIT": "0",
    }


# ---------------------------------------------------------------------------------------------- servers


def _server(fleet: Fleet, name: str, port: int, environment: Mapping[str, str], renderers: int) -> Part:
    return Part(name, lambda: _running(fleet, name, port, environment, renderers), lambda it: _kill_server(fleet, it))


@contextmanager
def _running(fleet: Fleet, name: str, port: int, environment: Mapping[str, str], renderers: int) -> Iterator[Running]:
    arguments = (str(fleet.images), "--config", str(fleet.folder / "cropmark.toml"))
    data, cache = ("--data", str(fleet.folder / f"{name}-data")), fleet.folder / name
    with running(*arguments, *data, cache=cache, environment=environment, renderers=renderers, port=port) as found:
        try:
            yield found
        finally:
            fleet.logs.append(found.log.read_text())


def _kill_server(fleet: Fleet, server: Running) -> None:
    renderers = server.renderers()
    server.process.kill()
    server.process.wait(10)
    end_s = time.monotonic() + 5
    while time.monotonic() < end_s and any(map(is_running, renderers)):
        time.sleep(0.02)
    fleet.orphans += sum(map(is_running, renderers))


# ---------------------------------------------------------------------------------------------- nginx


@contextmanager
def _nginx(fleet: Fleet, servers: list[str], port: int) -> Iterator[Path]:
    folder = fleet.folder / "nginx"
    with running_nginx(folder, servers, port, cache=False):
        yield folder


def _kill_nginx(folder: Path) -> None:
    master = int((folder / "nginx.pid").read_text())
    for pid in (master, *children(master)):  # the workers of a killed master continue to serve
        os.kill(pid, signal.SIGKILL)


# ---------------------------------------------------------------------------------------------- bucket


@contextmanager
def _bucket(fleet: Fleet) -> Iterator[S3Server]:
    """The S3 server, with the objects that it had before it was killed; the shared cache is empty again."""
    with s3_server(PICTURES, CACHE, LIBRARY, replaced=fleet.parts["bucket"].value) as s3:
        for (bucket, path), body in fleet.saved.items():
            obstore.put(store_of(s3, bucket), path, body)
        yield s3


def store_of(s3: S3Server, bucket: str) -> Any:
    return open_store(f"s3://{bucket}", "test", TIMES, options=s3.options)


def _objects(s3: S3Server) -> Iterator[tuple[tuple[str, str], bytes]]:
    for bucket in (PICTURES, LIBRARY):
        store = store_of(s3, bucket)
        for page in obstore.list(store):
            for entry in page:
                yield (bucket, entry["path"]), bytes(obstore.get(store, entry["path"]).bytes())
