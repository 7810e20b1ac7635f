"""cropmark warm over loopback: a real server, and one that is overloaded."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cropmark.cli.main import app
from tests.builders import make_images
from tests.web.server_process import Running, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("warm")
    (folder / "pictures").mkdir()
    make_images(folder / "pictures")
    sites = f'[[site]]\nhosts = ["img.example"]\ndialect = "kontent"\nsource = "{folder / "pictures"}"\n'
    (folder / "cropmark.toml").write_text(sites)
    config = str(folder / "cropmark.toml")
    with running(str(folder / "pictures"), "--config", config, cache=folder / "cache") as started:
        yield started


def warm(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, ["warm", *arguments], input=stdin, env={"COLUMNS": "100"})


def counted(output: str) -> set[tuple[str, ...]]:
    """The rows of the table."""
    return {tuple(line.split()) for line in output.splitlines()[1:-1]}


def cache_result(server: Running, path: str, **headers: str) -> str:
    response = server.get(path, headers=headers)
    assert response.status_code == 200
    return response.headers["server-timing"].partition(",")[0]


def test_urls_are_in_the_cache_afterwards(server: Running) -> None:
    paths = [f"/fastly/wide.jpg?width={width}" for width in range(20, 32)]
    first = warm("-", "--server", server.address, stdin="\n".join(paths))
    assert first.exit_code == 0, first.stderr
    assert counted(first.stdout) == {("200", "miss", "12")}
    assert first.stdout.splitlines()[-1].startswith("12 requests, ")
    assert cache_result(server, paths[-1]) == "cache;desc=hit-memory"
    second = warm("-", "--server", server.address, stdin="\n".join(paths))
    assert counted(second.stdout) == {("200", "hit-memory", "12")}


def test_failures_are_counted_and_listed(server: Running) -> None:
    listed = "/fastly/wide.jpg?width=41\n/fastly/none.jpg?width=3\n/fastly/wide.jpg?width=0"
    found = warm("-", "--server", server.address, stdin=listed)
    assert found.exit_code == 1
    assert counted(found.stdout) == {("200", "miss", "1"), ("404", "1"), ("400", "1")}
    assert "/fastly/none.jpg?width=3: 404" in found.stderr


def test_a_site_is_found_by_the_host_of_its_url(server: Running) -> None:
    found = warm("-", "--server", server.address, stdin="https://img.example/wide.jpg?w=51")
    assert found.exit_code == 0, found.stdout + found.stderr
    assert cache_result(server, "/wide.jpg?w=51", host="img.example") == "cache;desc=hit-memory"


def test_each_accept_header_is_one_request(server: Running, tmp_path: Path) -> None:
    (tmp_path / "urls.csv").write_text("source,query\nwide.jpg,width=61&auto=webp\n")
    accepts = ("--accept", "image/webp", "--accept", "image/*")
    found = warm(str(tmp_path / "urls.csv"), "--server", server.address, *accepts)
    assert found.stdout.splitlines()[-1].startswith("2 requests, ")
    assert cache_result(server, "/fastly/wide.jpg?width=61&auto=webp", accept="image/webp") == "cache;desc=hit-memory"


def test_a_second_run_makes_only_the_requests_that_failed(server: Running, tmp_path: Path) -> None:
    state = tmp_path / "done"
    listed = "/fastly/wide.jpg?width=71\n/fastly/none.jpg?width=71\n/fastly/wide.jpg?width=72"
    warm("-", "--server", server.address, "--resume", str(state), stdin=listed)
    second = warm("-", "--server", server.address, "--resume", str(state), stdin=listed)
    assert counted(second.stdout) == {("404", "1")}
    assert "2 skipped: an earlier run made them" in second.stdout


def test_a_resume_file_of_a_killed_run(server: Running, tmp_path: Path) -> None:
    state = tmp_path / "done"
    first, second = "/fastly/wide.jpg?width=81\t*/*\n", "/fastly/wide.jpg?width=82\t*/*\n"
    state.write_bytes(first.encode() + second.encode()[:-3] + b"\xc3")
    listed = "/fastly/wide.jpg?width=81\n/fastly/wide.jpg?width=82"
    found = warm("-", "--server", server.address, "--resume", str(state), stdin=listed)
    assert found.stdout.splitlines()[-1].startswith("1 requests, "), found.exception
    assert state.read_text() == first + second


class Overloaded(BaseHTTPRequestHandler):
    """Answers each URL with 503 once, and `/never` always."""

    seen: dict[str, list[float]]

    def do_GET(self) -> None:
        times = self.seen.setdefault(self.path, [])
        times.append(time.monotonic())
        is_rejected = len(times) == 1 or self.path == "/never"
        status = 301 if self.path == "/moved" else 503 if is_rejected else 200
        self.send_response(status)
        for name, value in (("Retry-After", "0"), ("Content-Length", "0"), ("Location", "/elsewhere")):
            if name != "Location" or status == 301:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def overloaded() -> Iterator[tuple[str, dict[str, list[float]]]]:
    seen: dict[str, list[float]] = {}
    handler = type("Handler", (Overloaded,), {"seen": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()


def test_requests_are_sent_again_while_the_server_is_overloaded() -> None:
    with overloaded() as (address, seen):
        found = warm("-", "--server", address, stdin="/once\n/never\n/moved")
    assert counted(found.stdout) == {("200", "1"), ("503", "1"), ("301", "1")}
    assert {path: len(times) for path, times in seen.items()} == {"/once": 2, "/never": 5, "/moved": 1}
    assert "/moved: 301 redirects to /elsewhere" in found.stderr
    assert found.exit_code == 1


def test_the_rate_is_bounded() -> None:
    with overloaded() as (address, seen):
        warm("-", "--server", address, "--rate", "20", "--concurrency", "8", stdin="/1\n/2\n/3\n/4\n/5")
    starts = sorted(time_s for times in seen.values() for time_s in times)
    assert len(starts) == 10
    assert starts[-1] - starts[0] >= 9 / 20 * 0.8


# fmt: off
REFUSED = [
    # arguments                             list                      code  says
    (("-",),                                "/a\nhttps://b.example/", 2, "the list has paths and URLs with a host"),
    (("-", "--server", "localhost:8000"),   "/a",                     2, "expected the address of a server"),
    (("-",),                                "nothing",                1, "expected a URL or a path"),
    (("none.txt",),                         "",                       1, "No such file or directory: 'none.txt'"),
    (("-", "--server", "http://127.0.0.1:9"), "/a",                   1, "/a: Cannot connect to host"),
]
# fmt: on


@pytest.mark.parametrize(("arguments", "listed", "code", "says"), REFUSED)
def test_what_is_refused(arguments: tuple[str, ...], listed: str, code: int, says: str) -> None:
    found = warm(*arguments, stdin=listed)
    message = f"{found.stderr}{found.exception}"  # main() prints the exception
    assert (found.exit_code, says in message) == (code, True), message
