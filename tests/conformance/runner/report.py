"""Results: runs the cases in parallel and writes what failed, as lines, files and a table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.conformance.runner.cases import Case, CaseError, has_source, source_path
from tests.conformance.runner.checks import Failure, failures
from tests.conformance.runner.client import Client, Reply
from tests.conformance.runner.formats import sniff


@dataclass(frozen=True, slots=True)
class Result:
    dialect: str
    case: Case
    verdict: str  # pass, fail, skip
    failures: tuple[Failure, ...] = ()
    reply: Reply | None = None


def run(cases: list[tuple[str, Case]], client: Client) -> list[Result]:
    """The results of all cases, in their order."""
    with ThreadPoolExecutor(max(1, client.target.jobs)) as pool:
        return list(pool.map(lambda item: run_one(item[1], item[0], client), cases))


def run_one(case: Case, dialect: str, client: Client) -> Result:
    """Send one case and check the response; a case that is wrong itself is skipped."""
    if has_source(case) and not (client.target.sources / source_path(case)).is_file():
        return Result(dialect, case, "skip", (("", "no source file (--corpus?)"),))
    try:
        reply = client.send(case, dialect)
    except CaseError as error:
        return Result(dialect, case, "skip", (("", f"the case: {error}"),))
    except httpx.HTTPError as error:
        return Result(dialect, case, "fail", (("a response", f"{type(error).__name__}: {error}"),))
    try:
        found = failures(case, dialect, reply, client)
    except (CaseError, KeyError, TypeError) as error:
        return Result(dialect, case, "skip", (("", f"the case: {type(error).__name__} {error}"),), reply)
    except httpx.HTTPError as error:
        found = [("the image at the link", f"{type(error).__name__}: {error}")]
    return Result(dialect, case, "fail" if found else "pass", tuple(found), reply)


def print_line(result: Result, verbose: bool) -> None:
    """One line for a failed or skipped case, and for a passed one if asked for."""
    case, case_id = result.case, result.case["id"]
    if result.verdict == "fail":
        request = case.get("query") or case.get("url") or json.dumps(case.get("params") or {})
        expected = "; ".join(expected for expected, _ in result.failures)
        received = "; ".join(received for _, received in result.failures)
        print(
            f"FAIL {case_id} [{case.get('certainty')}] {request[:100]} -- expected {expected} -- came {received} "
            f"-- why: {case.get('why', '')}"
        )
    elif result.verdict == "skip":
        print(f"SKIP {case_id} {'; '.join(reason for _, reason in result.failures)}")
    elif verbose:
        print(f"ok   {case_id}")


def save_body(result: Result, folder: Path) -> None:
    """Write the body of a failed case, with its format as the extension."""
    if result.verdict == "fail" and result.reply is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{result.case['id']}.{min(sniff(result.reply.body))}").write_bytes(result.reply.body)


def write_json(results: Iterable[Result], file: Path) -> None:
    """One result object a line."""
    with file.open("w") as out:
        for result in results:
            fields = {
                "id": result.case["id"],
                "dialect": result.dialect,
                "certainty": result.case.get("certainty"),
                "verdict": result.verdict,
                "bad": [" | ".join(filter(None, failure)) for failure in result.failures],
                "seconds": round(result.reply.seconds, 4) if result.reply else None,
            }
            out.write(json.dumps(fields) + "\n")


def print_table(results: list[Result], not_run: list[str]) -> None:
    """The counts by dialect and certainty, and the total as the last line."""
    counts = Counter((r.dialect, str(r.case.get("certainty")), r.verdict) for r in results)
    print(f"\n{'dialect':<16}{'certainty':<12}{'pass':>6}{'fail':>6}{'skip':>6}")
    for dialect, certainty in sorted({(dialect, certainty) for dialect, certainty, _ in counts}):
        passed, failed, skipped = (counts[dialect, certainty, verdict] for verdict in ("pass", "fail", "skip"))
        print(f"{dialect:<16}{certainty:<12}{passed:>6}{failed:>6}{skipped:>6}")
    if not_run:
        print("no --base for: " + ", ".join(not_run))
    total = Counter(result.verdict for result in results)
    print(f"{total['pass']} passed, {total['fail']} failed, {total['skip']} skipped")
