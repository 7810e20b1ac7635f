"""`cropmark replay` between two real servers over folders that differ in known ways."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cropmark.cli.main import app
from cropmark.replay.compare import Comparison
from cropmark.replay.fetch import FetchedUrl
from cropmark.replay.pace import RateLimiter
from cropmark.replay.results import Outcome, ReplayOptions, ResultFile, UrlResult, outcome_of
from tests.replay.made_log import FILES, WIDTHS, lines, queries, write_folders
from tests.web.server_process import running

LINES = 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replay")


@pytest.fixture(scope="module")
def servers(folder: Path) -> Iterator[tuple[str, str]]:
    """The addresses of the new and the old server."""
    old, new = write_folders(folder)
    with (
        running(str(new), cache=folder / "c1") as here,
        running(str(old), cache=folder / "c2") as there,
    ):
        yield here.address, there.address


@pytest.fixture(scope="module")
def log(folder: Path) -> Path:
    path = folder / "access.log"
    path.write_text("\n".join(lines(LINES)) + "\n")
    return path


def replay(*arguments: object) -> Result:
    command = ["replay", *map(str, arguments), "--rate", "1000"]
    return CliRunner().invoke(app, command, env={"COLUMNS": "200", "no_proxy": "*"})


@pytest.fixture(scope="module")
def replayed(servers: tuple[str, str], log: Path, folder: Path) -> tuple[Result, Path]:
    here, there = servers
    return replay(log, "--server", here, "--against", there, "--out", folder / "out"), folder / "out"


# fmt: off
EXPECTED = {
    "same.png":   Outcome.IDENTICAL,
    "near.jpg":   Outcome.EQUAL,
    "dark.png":   Outcome.IMAGE,
    "kind.png":   Outcome.FORMAT,       # for queries that do not name a format
    "gone.png":   Outcome.MISSING,
    "new.png":    Outcome.FAILED_THERE,
}
# fmt: on


def results_in(out: Path) -> list[UrlResult]:
    lines = (out / "results.jsonl").read_text().splitlines()[1:]
    return [UrlResult.from_json(json.loads(line)) for line in lines]


def test_the_outcome_of_each_url(replayed: tuple[Result, Path]) -> None:
    result, out = replayed
    assert result.exit_code == 1, result.output
    by_file: dict[str, Counter[Outcome]] = {name: Counter() for name in FILES}
    for one in results_in(out):
        by_file[one.target.split("?")[0].removeprefix("/fastly/")][one.outcome] += 1
    assert sum(map(sum, (counts.values() for counts in by_file.values()))) <= len(FILES) * len(queries(WIDTHS))
    for name, outcome in EXPECTED.items():
        if name != "kind.png":
            assert set(by_file[name]) == {outcome}, (name, by_file[name])
    assert set(by_file["kind.png"]) == {Outcome.FORMAT, Outcome.EQUAL}  # equal as WebP
    assert Outcome.SIZE in by_file["small.png"]
    assert not {one for one in by_file["broken.png"] if one.is_good}


def test_the_summary_names_patterns(replayed: tuple[Result, Path]) -> None:
    output = replayed[0].output
    for words in ("identical", "visually equal", "different size", "different format", "missing here"):
        assert words in output
    assert re.search(r"^format=webp&width=N: .*\d+ different image", output, re.MULTILINE)
    assert re.search(r"^\d+\.\d\d % of the requests", output, re.MULTILINE)


def test_the_report_is_one_file_with_the_worst_images(replayed: tuple[Result, Path]) -> None:
    page = (replayed[1] / "report.html").read_text()
    assert "default-src 'none'; img-src data:" in page
    assert "<script" not in page
    assert page.count('src="data:image/webp;base64,') >= 20
    assert not re.search(r'(src|href)="(?!data:)', page)
    for words in ("/fastly/gone.png", "different size", "By parameters", "Missing and failed", "not an image"):
        assert words in page


def test_a_second_run_requests_only_the_failed_urls(
    replayed: tuple[Result, Path], servers: tuple[str, str], log: Path
) -> None:
    first, out = replayed
    before = results_in(out)
    again = replay(log, "--server", servers[0], "--against", servers[1], "--out", out, "--json")
    added = results_in(out)[len(before) :]
    assert {one.outcome for one in added} <= {Outcome.ERROR, Outcome.FAILED_THERE}
    assert len(added) == sum(not one.outcome.is_final for one in before)
    summary = json.loads(again.output)
    assert sum(summary["urls"].values()) == len({one.key for one in before})
    assert f"{100 * summary['good_share']:.2f} % of the requests" in first.output


def test_other_options_need_another_folder(replayed: tuple[Result, Path], servers: tuple[str, str], log: Path) -> None:
    result = replay(log, "--server", servers[0], "--out", replayed[1])
    assert result.exit_code == 1
    assert "name another folder with --out" in str(result.exception)


def test_one_server_alone(servers: tuple[str, str], folder: Path) -> None:
    log = folder / "small.log"
    log.write_text('{"url": "/fastly/same.png?width=20"}\n{"url": "/fastly/gone.png"}\n')
    result = replay(log, "--server", servers[0], "--out", folder / "alone", "--json")
    assert json.loads(result.output)["urls"] == {"answered": 1, "missing here": 1}


def test_a_server_that_does_not_respond(servers: tuple[str, str], folder: Path) -> None:
    log = folder / "small2.log"
    log.write_text('{"url": "/fastly/same.png?width=20"}\n')
    result = replay(log, "--server", "http://127.0.0.1:1", "--against", servers[1], "--out", folder / "dead", "--json")
    assert json.loads(result.output)["urls"] == {"error here": 1}
    assert "did not respond" in (folder / "dead" / "report.html").read_text()


def test_texts_of_the_log_and_the_servers_are_escaped(servers: tuple[str, str], folder: Path) -> None:
    log = folder / "hostile.log"
    log.write_text(json.dumps({"url": '/fastly/gone.png?"><script>alert(1)</script>'}) + "\n")
    replay(log, "--server", servers[0], "--against", servers[1], "--out", folder / "hostile")
    assert "<script" not in (folder / "hostile" / "report.html").read_text()


def test_a_log_without_images(folder: Path) -> None:
    log = folder / "empty.log"
    log.write_text('{"url": "/index.html"}\n')
    result = replay(log, "--out", folder / "none")
    assert result.exit_code == 1
    assert "1 not an image" in result.stderr
    assert "select paths with --match" in result.stderr


# ------------------------------------------------------------------------------------------------ the parts

OPTIONS = ReplayOptions("http://here.example", None, "", 5.0)


def _stored(key: str, outcome: Outcome = Outcome.IDENTICAL) -> UrlResult:
    return UrlResult(key, key, None, 1, outcome, "200 image/png 4x4, 9 bytes", mean=0.0)


def test_an_interrupted_write_is_repaired(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with ResultFile(path, OPTIONS) as file:
        file.add(_stored("/a.jpg"))
    with path.open("a") as half:
        half.write('{"key": "/b.jp')
    with ResultFile(path, OPTIONS) as file:
        assert list(file.by_key) == ["/a.jpg"]
        file.add(_stored("/b.jpg", Outcome.MISSING))
    assert ResultFile(path, OPTIONS).by_key == {
        "/a.jpg": _stored("/a.jpg"),
        "/b.jpg": _stored("/b.jpg", Outcome.MISSING),
    }


# fmt: off
OUTCOMES = [
    # here, there   outcome
    (404,   404,    Outcome.IDENTICAL),
    (301,   404,    Outcome.FAILED_THERE),
    (200,   404,    Outcome.FAILED_THERE),
    (404,   200,    Outcome.MISSING),
    (503,   200,    Outcome.ERROR),
    (500,   500,    Outcome.FAILED_THERE),   # of a server that was stopped or overloaded: requested again
    (503,   503,    Outcome.FAILED_THERE),
    (429,   429,    Outcome.FAILED_THERE),
]
# fmt: on


@pytest.mark.parametrize(("here", "there", "outcome"), OUTCOMES)
def test_outcomes_of_statuses(here: int, there: int, outcome: Outcome) -> None:
    one, two = (FetchedUrl("http://a.example", status, "text/plain", 5, "00") for status in (here, there))
    assert outcome_of(Comparison(one, two, None), 5.0) is outcome


async def test_the_rate_is_bounded() -> None:
    limiter, loop = RateLimiter(100), asyncio.get_running_loop()
    start = loop.time()
    await asyncio.gather(*(limiter.wait() for _ in range(21)))
    assert loop.time() - start >= 0.19
