"""Batches on a real cluster of two workers: a killed worker, an interrupted client, failures, the command line."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cropmark.batch import run
from cropmark.batch.run import open_client, run_batch
from cropmark.batch.tasks import Outcome, Task
from cropmark.cli.main import app
from tests.batch.trial import new_job, run_with_killed_worker, small_images, tasks_of
from tests.processes import is_running


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with open_client(None, 2, 1) as started:
        yield started


def batch(client: Any, manifest: Path, *arguments: str) -> Result:
    address: str = client.scheduler.address
    environment = {"COLUMNS": "200", "NO_COLOR": "1"}
    return CliRunner().invoke(app, ["batch", str(manifest), "--cluster", address, *arguments], env=environment)


def widths(folder: Path) -> dict[str, int]:
    """The widths of all results, which are decoded completely. A killed worker may leave a file without a name."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith(".cropmark-"):
            with Image.open(path) as image:
                image.load()
                found[str(path.relative_to(folder))] = image.width
    return found


def wait_until_gone(pids: set[int]) -> None:
    end_s = time.monotonic() + 30
    while any(map(is_running, pids)):
        assert time.monotonic() < end_s, f"{pids} still run"
        time.sleep(0.05)


def test_nothing_is_lost_when_a_worker_is_killed(client: Any, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    job = new_job(tmp_path / "images", tmp_path / "out")
    tasks = tasks_of(small_images(tmp_path / "images", 100), job)
    trial = run_with_killed_worker(client, tasks, job, tmp_path / "starts")
    assert [outcome for outcome in trial.outcomes if not outcome.is_success] == []
    assert sorted(outcome.key for outcome in trial.outcomes) == sorted(tasks)
    expected = {
        task.entry.output: int(task.entry.query.split("&")[0].removeprefix("width=")) for task in tasks.values()
    }
    assert widths(tmp_path / "out") == expected
    # The worker was killed with tasks in the air, and only tasks that it had were made again.
    assert any(trial.killed in pids for pids in trial.starts.values())
    assert all(pids[:-1] == [trial.killed] for pids in trial.repeated.values())
    assert not is_running(trial.killed)
    assert trial.renderers_of_killed
    wait_until_gone(trial.renderers_of_killed)


def test_a_second_run_makes_only_the_missing_results(client: Any, tmp_path: Path) -> None:
    manifest, out = tmp_path / "m.jsonl", tmp_path / "out"
    manifest.write_text("\n".join([*small_images(tmp_path, 10), '{"source": "none.jpg", "output": "x/none.jpg"}']))
    assert batch(client, manifest, "--out", str(out)).exit_code == 1
    made = {name: (out / name).stat().st_mtime_ns for name in widths(out)}
    assert len(made) == 10
    (out / "3/3.jpg").unlink()
    (tmp_path / "0.jpg").rename(tmp_path / "none.jpg")
    second = batch(client, manifest, "--out", str(out))
    assert second.exit_code == 0, second.output
    assert second.stdout.splitlines()[0] == "9 of 11 are done already"
    assert second.stdout.splitlines()[1].startswith("2 made, 0 failed, ")
    again = {name for name in widths(out) if made.get(name) != (out / name).stat().st_mtime_ns}
    assert again == {"3/3.jpg", "x/none.jpg"}


def test_failures_are_listed_with_their_reasons(client: Any, tmp_path: Path) -> None:
    small_images(tmp_path, 1)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").touch()
    # fmt: off
    reasons = [
        # source        query       output      the reason has
        ("none.jpg",    "",         "a.jpg",    "source_not_found: the image does not exist"),
        ("1.jpg",       "width=0",  "b.jpg",    "bad_value: width: expected a length above 0"),
        ("broken.jpg",  "width=9",  "c.jpg",    "source_unusable: the image could not be processed"),
        ("1.jpg",       "width=9",  "file/d",   "the result cannot be written: "),
    ]
    # fmt: on
    rows = "".join(f"{source},{query},{name}\n" for source, query, name, _ in reasons)
    (tmp_path / "m.csv").write_text(f"source,query,output\n{rows}1.jpg,width=9,e.jpg\n")
    found = batch(client, tmp_path / "m.csv", "--out", str(tmp_path / "out"))
    assert found.exit_code == 1
    assert "1 made, 4 failed" in found.stdout
    assert "4 failed: see " in found.stderr
    assert "Dask dashboard: http://127.0.0.1:" in found.stderr
    listed = [json.loads(line) for line in (tmp_path / "m.csv.failures.jsonl").read_text().splitlines()]
    for number, (source, query, name, reason) in enumerate(reasons, 2):
        [failure] = [one for one in listed if one["line"] == number]
        assert (failure["source"], failure["query"], failure["output"]) == (source, query, name)
        assert failure["reason"].startswith(reason)


def test_an_interrupted_run_is_resumed(client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.jsonl").write_text("\n".join(small_images(tmp_path, 60)))
    count = 0

    def interrupted(client: Any, tasks: Any, job: Any, report: Any) -> float:
        def until_ten(task: Task, outcome: Outcome) -> None:
            nonlocal count
            report(task, outcome)
            count += 1
            if count == 10:
                raise KeyboardInterrupt

        return run_batch(client, tasks, job, until_ten)

    with monkeypatch.context() as patch:
        patch.setattr(run, "run_batch", interrupted)
        batch(client, tmp_path / "m.jsonl", "--out", str(tmp_path / "out"))
    assert count == 10
    second = batch(client, tmp_path / "m.jsonl", "--out", str(tmp_path / "out"))
    assert second.stdout.splitlines()[0] == "10 of 60 are done already"
    assert second.stdout.splitlines()[1].startswith("50 made, 0 failed, ")
    assert len(widths(tmp_path / "out")) == 60


def test_images_of_an_origin_and_results_by_url(client: Any, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "m.jsonl").write_text("\n".join(small_images(tmp_path / "images", 6)))
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = f"http://127.0.0.1:{server.server_port}/images"
        found = batch(client, tmp_path / "m.jsonl", "--out", f"file://{tmp_path}/out", "--source", source)
        server.shutdown()
    assert found.exit_code == 0, found.output
    assert sorted(widths(tmp_path / "out").values()) == [20, 21, 22, 23, 24, 25]


def test_the_suffix_and_the_accept_header_select_the_format(client: Any, tmp_path: Path) -> None:
    small_images(tmp_path, 1)
    lines = [("width=9", "a.webp"), ("width=9&auto=webp", "b.img"), ("width=9&format=png", "c.webp")]
    rows = "".join(f"1.jpg,{query},{name}\n" for query, name in lines)
    (tmp_path / "m.csv").write_text(f"source,query,output\n{rows}")
    batch(client, tmp_path / "m.csv", "--out", str(tmp_path / "out"), "--accept", "image/webp")
    formats = {}
    for _, name in lines:
        with Image.open(tmp_path / "out" / name) as image:
            formats[name] = image.format
    assert formats == {"a.webp": "WEBP", "b.img": "WEBP", "c.webp": "PNG"}


def test_a_worker_without_the_sources(client: Any, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("source,output\na.jpg,b.jpg\n")
    found = batch(client, tmp_path / "m.csv", "--out", str(tmp_path / "out"), "--source", str(tmp_path / "none"))
    assert found.exit_code == 1
    assert "none is not a folder" in found.stderr


def test_a_source_of_an_unknown_kind(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("source,output\na.jpg,b.jpg\n")
    arguments = ["batch", str(tmp_path / "m.csv"), "--out", str(tmp_path), "--source", "ftp://a.example/"]
    found = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert found.exit_code == 2
    assert "--source: " in found.stderr


def test_a_worker_without_the_credentials(client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    (tmp_path / "m.csv").write_text("source,output\na.jpg,b.jpg\n")
    found = batch(client, tmp_path / "m.csv", "--out", "s3://pictures/web")
    assert found.exit_code == 1
    assert "--out: the environment has no credentials for this store" in found.stderr


def test_no_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "CONNECT_S", 0.3)
    (tmp_path / "m.csv").write_text("source,output\na.jpg,b.jpg\n")
    arguments = ["batch", str(tmp_path / "m.csv"), "--out", str(tmp_path), "--cluster", "tcp://127.0.0.1:9"]
    found = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert found.exit_code == 1
    assert "no scheduler at tcp://127.0.0.1:9" in str(found.exception)
    assert "start one: dask scheduler" in str(found.exception)
