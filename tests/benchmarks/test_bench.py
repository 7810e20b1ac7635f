"""The parts of `make bench`: modules load, sections are written, and targets are evaluated."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import run
from bench import load, machine, report, results, targets
from bench.cold import Case, Pace, cases, further_cases
from bench.images import Album, Kind, Wanted
from bench.parallel import LEVELS, Level, Srcset
from bench.peers import BEFORE, CROPMARK, EQUAL, FILTER, IPX, RENDERING, SHARP, THUMBOR
from bench.quality import Equal, Looks
from bench.runs import Run
from bench.servers import Peer
from bench.warm import Busy, Hits, Identical, Kept

# fmt: off
NEW = "<!-- speed -->\nnew\n<!-- /speed -->\n"
SOAK = "<!-- soak -->\nkept\n<!-- /soak -->\n"

SECTIONS = [
    # the file before                                          after
    ("# Head\n",                                               f"# Head\n\n{NEW}"),    # none yet
    ("<!-- speed -->\nold\n<!-- /speed -->\n",                 NEW),                  # replaced
    (SOAK,                                                     f"{SOAK}\n{NEW}"),      # after another section
    (f"<!-- speed -->\nold\n<!-- /speed -->\n\n{SOAK}",        f"{NEW}\n{SOAK}"),      # in its place
]

ASKED = [
    # peer     image                                  path
    (CROPMARK, Wanted("a.jpg", 800, "jpeg"),            "/fastly/a.jpg?width=800&format=jpg"),
    (CROPMARK, Wanted("a.jpg", 800, "webp", 80),        "/fastly/a.jpg?width=800&format=webp&quality=80"),
    (SHARP,    Wanted("a.jpg", 800, "webp"),            "/800/webp/0/a.jpg"),
    (SHARP,    Wanted("a.jpg", 800, "webp", 80),        "/800/webp/80/a.jpg"),
    (IPX,      Wanted("a.jpg", 800, "avif", 50),        "/w_800,f_avif,q_50/a.jpg"),
    (THUMBOR,  Wanted("a.jpg", 300, "jpeg", 80),        "/unsafe/300x0/filters:format(jpeg):quality(80)/a.jpg"),
    (FILTER,   Wanted("a.jpg", 300, "jpeg"),            "/resize/300/75/a.jpg"),
    (FILTER,   Wanted("a.jpg", 300, "webp"),            None),    # it writes its input format
]
# fmt: on


@pytest.mark.parametrize(("before", "after"), SECTIONS)
def test_a_section_is_written_apart(before: str, after: str) -> None:
    assert results.with_section(before, "speed", "new\n") == after


def test_a_file_that_is_not_there_is_begun(tmp_path: Path) -> None:
    results.write_section(tmp_path / "RESULTS.md", "speed", r"a \1 in it")
    assert (tmp_path / "RESULTS.md").read_text() == results.HEAD + "\n<!-- speed -->\na \\1 in it\n<!-- /speed -->\n"


@pytest.mark.parametrize(("peer", "wanted", "path"), ASKED)
def test_urls_of_peers(peer: Peer, wanted: Wanted, path: str | None) -> None:
    assert peer.path(wanted) == path


def test_every_rendering_peer_takes_part_in_the_table() -> None:
    assert targets.NAMES == tuple(peer.name for peer in RENDERING) == tuple(dict.fromkeys(targets.NAMES))


def _found(*, ours: float, renders: int) -> targets.Found:
    plain, equal = cases(Kind.MP12, 800, "jpeg", 80)
    small, small_equal = cases(Kind.MP1, 300, "jpeg", 80)
    rates = {"cropmark": ours, "sharp": 40.0, "thumbor": 20.0}
    paces = {name: Pace(rate, 2000 / rate, 1e5, 9, 70.0) for name, rate in rates.items()}
    found = targets.Found(cold={case.title: paces for case in (plain, equal, small, small_equal)})
    for word in ("WebP", "AVIF"):
        found.cold[f"12 MP → 800 px {word}, equal quality"] = paces
        found.equal[word] = Equal(70, Looks(81.0, 106_000), Looks(79.0, 102_000), Looks(80.0, 100_000))
    found.hits = {"cropmark, memory": Hits(40_000, 30, 1), "cropmark, disk": Hits(20_000, 60, 1)}
    found.hits[targets.NGINX] = Hits(100_000, 7, 1)
    found.identical, found.busy = Identical(500, renders, 0.5, 1.0), Busy(1, 9, 400, 100, 0, 20)
    found.kept = [Kept(5_000, machine.Memory(250, 200)), Kept(10_000, machine.Memory(260, 210))]
    found.limit_ms = 42.1
    return found


# fmt: off
VERDICTS = [
    # row begins with                                     measured          met if ours renders 38 images per second
    ("12 MP → 800 px JPEG, quality 80 against sharp",     "0.95×, +0.0",    False),
    ("12 MP → 800 px JPEG, quality 80 against thumbor",   "1.90×, +0.0",    True),
    ("1 MP → 300 px JPEG, processor time",                "52.6 ms",        False),
    ("12 MP → 512 px AVIF against sharp, equal",          "not measured",   None),
    ("WebP at equal quality",                             "0.95×, bytes +4%", False),
    ("AVIF at equal quality",                             "0.95×, bytes +4%", False),
    ("500 identical cold requests: renders",              "2",              False),
    ("the same, processor time",                          "0.5 ms",         True),
    ("hits from memory",                                  "0.40×",          True),
    ("hits from disk",                                    "0.20×",          False),
    ("hit p99",                                           "9 ms",           True),
    ("memory after 5,000",                                "200 MiB (210 after 10,000)", True),
    ("cold processor time",                               "1.25×",          None),
]
# fmt: on


@pytest.mark.parametrize(("beginning", "measured", "is_met"), VERDICTS)
def test_targets(beginning: str, measured: str, is_met: bool | None) -> None:
    row = next(row for row in targets.targets(_found(ours=38, renders=2)) if row.name.startswith(beginning))
    assert (row.measured, row.is_met) == (measured, is_met)


def test_targets_without_measurements() -> None:
    rows = targets.targets(targets.Found())
    assert {row.is_met for row in rows} == {None}


def test_the_section_contains_all_results() -> None:
    about = report.About(
        runs=[Run("python benchmarks/run.py", "3 rounds of 3 s", "2025-01-01 12:00 UTC", 0.1, minutes=20)],
        machine="Some processor, 2 cores",
        cores=machine.Cores((0, 1), (0, 1)),
        versions={"sharp": "0.35.5"},
        missing={"thumbor": "no index"},
    )
    text = report.section(about, _found(ours=38, renders=1))
    run = "2025-01-01 12:00 UTC, `python benchmarks/run.py`, 3 rounds of 3 s, 20 minutes; load average before: 0.1"
    for part in (
        run,
        "Some processor",
        "38.0/s",
        "(0.95×)",
        "sharp 0.35.5",
        "Missing: thumbor (no index)",
        "| 0.40× |",
    ):
        assert part in text


def test_new_names(tmp_path: Path) -> None:
    album = Album(tmp_path)
    album.prepare([Kind.MP1])
    first, second = album.fresh(Kind.MP1, "sharp", 4), album.fresh(Kind.MP1, "sharp", 4)
    assert not set(first) & set(second)
    assert album.fresh(Kind.MP1, "IPX", 8) == first + second  # the same for all, in order
    assert (tmp_path / first[0]).samefile(tmp_path / first[3])
    assert not (tmp_path / first[0]).samefile(tmp_path / first[1])


def test_a_run_counts_valid_responses() -> None:
    responses = tuple(load.Answer(200 if n else 503, "image/jpeg", b"x" * n, float(n)) for n in range(10))
    requested = load.Run(responses, 3.0)
    assert (requested.rate, requested.failed, requested.percentile(0.5), requested.percentile(0.99)) == (
        3.0,
        1,
        5.0,
        9.0,
    )


def test_our_own_process_takes_time_and_memory() -> None:
    pids = machine.family(os.getpid())
    assert pids[0] == os.getpid()
    assert machine.cpu_s(pids) > 0
    assert 0 < machine.memory(pids).proportional <= machine.memory(pids).resident


def test_a_case_leaves_out_peers_that_cannot_render_it() -> None:
    case = Case("WebP", Kind.MP12, 800, "webp")
    assert [peer.name for peer in RENDERING if peer.path(case.wanted("a.jpg", peer.name)) is None] == [
        EQUAL.name,
        FILTER.name,
    ]


def test_the_command_knows_its_options() -> None:
    with pytest.raises(SystemExit) as ended:
        run.main(["--help"])
    assert ended.value.code == 0


def test_every_goal_has_its_row() -> None:
    titles = {case.title for case in (*further_cases(80), *cases(Kind.MP12, 800, "jpeg", 80))}
    assert {title for title, _, _ in targets.GOALS} <= titles


def test_a_goal_counts_time_and_score() -> None:
    title = "12 MP → 512 px JPEG"

    def measured(ours: Pace, theirs: Pace) -> targets.Target:
        found = targets.Found(cold={title: {"cropmark": ours, "sharp": theirs}})
        return next(row for row in targets.targets(found) if row.name.startswith(f"{title} against sharp"))

    fast = Pace(50.0, 20.0, 5_000.0, 10, score=73.0)
    slow = Pace(40.0, 22.0, 5_000.0, 10, score=73.9)
    assert (measured(fast, slow).measured, measured(fast, slow).is_met) == ("1.10×, -0.9", True)
    assert measured(slow, fast).is_met is False
    assert measured(fast, replace(slow, score=74.1)).is_met is False
    assert measured(fast, replace(slow, score=None)).is_met is True


def test_all_sizes_of_an_image_are_compared_with_the_earlier_code() -> None:
    def row(earlier_s: float) -> targets.Target:
        found = targets.Found(srcsets={"cropmark": Srcset(1.6, 2.5, 0), BEFORE.name: Srcset(earlier_s, 3.0, 0)})
        return next(row for row in targets.targets(found) if row.name.startswith("all sizes of an image"))

    assert (row(2.5).measured, row(2.5).is_met) == ("0.64×", True)
    assert (row(2.0).measured, row(2.0).is_met) == ("0.80×", False)


def test_rows_in_parallel() -> None:
    found = targets.Found(
        srcsets={"cropmark": Srcset(1.62, 2.5, 0)},
        levels={"cropmark": {count: Level(50.0, 36.5, 20.0, 90.0, count // 64) for count in LEVELS}},
    )
    assert "| cropmark | 1.62 s | 2.50 s | 0 |" in results.srcset_table(found.srcsets)
    table = results.levels_table(found.levels)
    assert table.startswith("|  | 1 | 4 | 16 | 64 |")
    assert table.endswith("p99 90 ms, 1 failed |")


def test_an_animation_is_requested_of_servers_that_write_it() -> None:
    case = next(case for case in further_cases(80) if case.kind is Kind.GIF)
    assert [peer.name for peer in RENDERING if peer.path(case.wanted("a.gif", peer.name))] == [
        "cropmark",
        "sharp",
        "sharp, careful",
    ]


def test_parts_that_are_measured_in_several_runs_are_written_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(bench: run.Bench, only: str | None, found: targets.Found) -> None:
        bench.versions["sharp"] = "1.0"
        if only == "more":
            found.cold["12 MP → 512 px JPEG"] = {"cropmark": Pace(30.0, 40.0, 5_000.0, 10)}
        if only == "parallel":
            found.srcsets["cropmark"] = Srcset(1.5, 2.5, 0)

    monkeypatch.setattr(run, "measured", measured)
    session, written = tmp_path / "session", tmp_path / "RESULTS.md"
    files = ["--session", str(session), "--results", str(written)]
    run.main(["--only", "more", "--rounds", "5", *files])
    run.main(["--only", "parallel", "--quick", *files])
    text = written.read_text("utf-8")
    assert "12 MP → 512 px JPEG" in text
    assert "### All sizes of an image" in text
    assert "sharp 1.0" in text
    runs = [line for line in text.splitlines() if line.startswith("- ")]
    assert ["--rounds 5 --only more`" in runs[0], "--quick --only parallel`" in runs[1]] == [True, True]
    assert ["5 rounds of 3 s" in runs[0], "2 rounds of 1 s" in runs[1]] == [True, True]
    assert str(tmp_path) not in text
