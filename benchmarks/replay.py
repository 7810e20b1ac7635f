"""Replays a made log of 5,000 lines between two servers, and writes benchmarks/REPLAY.md."""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from tests.replay.made_log import lines, write_folders
from tests.web.server_process import running
from typer.testing import CliRunner

from cropmark.cli.main import app

LINES = 5_000
WIDTHS = range(20, 160)
RESULT = Path(__file__).parent / "REPLAY.md"


def main() -> None:
    """Run the replay, and a second one that resumes it."""
    os.environ["no_proxy"] = "*"
    with tempfile.TemporaryDirectory(prefix="cropmark-replay-") as name:
        folder = Path(name)
        old, new = write_folders(folder)
        log = folder / "access.log"
        log.write_text("\n".join(lines(LINES, WIDTHS)) + "\n")
        with running(str(new), cache=folder / "c1") as here, running(str(old), cache=folder / "c2") as there:
            command = ["replay", str(log), "--server", here.address, "--against", there.address, "--rate", "1000"]
            command += ["--out", str(folder / "out"), "--json"]
            runs = [_run(command) for _ in range(2)]
        report_bytes = (folder / "out" / "report.html").stat().st_size
    RESULT.write_text(_text(*runs, report_bytes))
    sys.stdout.write(RESULT.read_text())


def _run(command: list[str]) -> tuple[float, dict[str, object]]:
    start = time.monotonic()
    result = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    return time.monotonic() - start, json.loads(result.stdout)


def _text(first: tuple[float, dict[str, object]], second: tuple[float, dict[str, object]], report_bytes: int) -> str:
    seconds, summary = first
    urls = summary["urls"]
    assert isinstance(urls, dict)
    assert second[1]["urls"] == urls, "the second run must have the same result"
    rows = "\n".join(f"| {outcome} | {count:,} |" for outcome, count in urls.items())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return f"""# A replay of 5,000 lines

Written by `make bench-replay`: `cropmark replay` over a made log of {LINES:,} lines in four formats, between
two servers on this machine ({os.cpu_count()} cores) with folders that differ in known ways (tests/replay/made_log.py).

| outcome | URLs |
| --- | --- |
{rows}

{sum(urls.values()):,} distinct URLs in {seconds:.0f} s; the second run, which repeats only the URLs that
failed, took {second[0]:.0f} s.
The command's largest memory was {peak} MiB, the report has {report_bytes // 1024:,} KiB.
"""


if __name__ == "__main__":
    main()
