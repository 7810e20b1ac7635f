"""The command line of run.py, the docstring of which is its help."""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.runner.cases import Case, load
from tests.conformance.runner.client import Client, Target, static_server
from tests.conformance.runner.report import print_line, print_table, run, save_body, write_json
from tests.conformance.runner.sources import make_sources

CASES = Path(__file__).resolve().parent.parent / "cases"


def main(description: str, argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = _parser(description)
    options = parser.parse_args(argv)
    cases, problems = load(options.cases or [CASES])
    for problem in problems:
        print("CASE FILE", problem, file=sys.stderr)
    if problems and options.strict:
        return 2
    cases = _selected(cases, options)
    if not cases:
        print("no case", file=sys.stderr)
        return 2
    if options.check or options.make_only:
        return _prepare(cases, options, len(problems))
    bases = _bases(parser, options.base)
    with _folder(options.sources) as folder:
        return _run(cases, bases, folder, options)


def _run(cases: list[tuple[str, Case]], bases: dict[str, str], folder: Path, options: argparse.Namespace) -> int:
    selected = [(dialect, case) for dialect, case in cases if dialect in bases]
    _make_sources(selected, folder, options.corpus)
    with contextlib.ExitStack() as stack:
        image_base = options.img_base
        if not image_base and any(dialect == "pixlab" or "params" in case for dialect, case in selected):
            image_base = stack.enter_context(static_server(folder, options.img_listen))
        target = Target(
            bases=bases,
            sources=folder,
            image_base=image_base,
            overlay_path=options.overlay_path,
            key=options.key,
            imgix_token=options.imgix_token,
            timeout_s=options.timeout,
            jobs=options.jobs,
        )
        results = run(selected, Client(target))
    for result in results:
        print_line(result, options.verbose)
        if options.save:
            save_body(result, options.save)
    if options.json_out:
        write_json(results, options.json_out)
    print_table(results, sorted({dialect for dialect, _ in cases} - set(bases)))
    return 1 if not results or any(result.verdict == "fail" for result in results) else 0


def _prepare(cases: list[tuple[str, Case]], options: argparse.Namespace, problem_count: int) -> int:
    """Make the sources and send nothing: --make-only, --check."""
    with _folder(options.make_only) as folder:
        unmade = _make_sources(cases, folder, options.corpus)
    counts = Counter((dialect, str(case.get("certainty"))) for dialect, case in cases)
    for dialect in sorted({dialect for dialect, _ in counts}):
        parts = (f"{count} {certainty}" for (name, certainty), count in sorted(counts.items()) if name == dialect)
        print(f"{dialect}: " + ", ".join(parts))
    if options.make_only:
        print(f"{len(cases)} cases, sources in {folder}")
    else:
        print(f"{len(cases)} cases, {problem_count} problems in case files, {unmade} sources cannot be made")
    return 2 if options.check and (problem_count or unmade) else 0


def _make_sources(cases: list[tuple[str, Case]], folder: Path, corpus: Path | None) -> int:
    """Write the sources, report those that cannot be made, and return their number."""
    unmade = make_sources([case for _, case in cases], folder, corpus)
    for problem in unmade:
        print("SOURCE", problem, file=sys.stderr)
    return len(unmade)


def _selected(cases: list[tuple[str, Case]], options: argparse.Namespace) -> list[tuple[str, Case]]:
    certainties = options.certainty.split(",") if options.certainty else None
    return [
        (dialect, case)
        for dialect, case in cases
        if not options.only or any(fnmatch.fnmatchcase(case["id"], pattern) for pattern in options.only)
        if certainties is None or case.get("certainty") in certainties
    ]


def _bases(parser: argparse.ArgumentParser, values: list[str]) -> dict[str, str]:
    bases: dict[str, str] = {}
    for value in values:
        dialect, separator, url = value.partition("=")
        if not separator or not url.startswith("http"):
            parser.error(f"--base {value}: expected DIALECT=URL")
        bases[dialect] = url
    if not bases:
        parser.error("--base DIALECT=URL is needed (or --make-only, --check)")
    return bases


@contextlib.contextmanager
def _folder(path: Path | None) -> Iterator[Path]:
    """The folder of the command line, created if missing, else a temporary one."""
    with contextlib.ExitStack() as stack:
        folder = path or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        yield folder


def _parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--cases", action="append", type=Path, help="case file or folder (repeatable; default: cases/ in this folder)")
    add("--base", action="append", default=[], metavar="DIALECT=URL")
    add("--sources", metavar="DIR", type=Path, help="the folder the server serves (created if missing)")
    add("--make-only", metavar="DIR", type=Path, help="write the sources there and stop")
    add("--corpus", metavar="DIR", type=Path, help="folder with the real images of kind `file`")
    add("--only", action="append", metavar="ID", help="shell pattern of case ids (repeatable)")
    add("--certainty", help="comma separated; default all")
    add("--img-listen", default="127.0.0.1:18999", metavar="HOST:PORT")
    add("--img-base", metavar="URL", help="a server that has the sources, instead of --img-listen")
    add("--overlay-path", choices=("host", "base"), default="host")
    add("--key", default="conformance-key")
    add("--imgix-token", default="conformance-token", help="the token of the site imgix-signed")
    add("--jobs", type=int, default=2)
    add("--timeout", type=float, default=60)
    add("--save", metavar="DIR", type=Path)
    add("--json", metavar="FILE", type=Path, dest="json_out")
    add("--check", action="store_true", help="read the case files and make the sources; send nothing")
    add("--strict", action="store_true", help="unknown fields in case files end the run")
    add("-v", "--verbose", action="store_true")
    return parser
