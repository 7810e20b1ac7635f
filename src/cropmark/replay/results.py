"""The results of replayed URLs, and the file that stores them, so that a second run can continue the first run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

from cropmark.model.problems import BadRequest
from cropmark.replay.compare import Comparison
from cropmark.replay.pace import OVERLOADED
from cropmark.runtime.line_file import open_lines, read_lines

FORMAT: Final = 1


class Outcome(Enum):
    """The outcome of comparing one URL. The values are the words in the report.

    "Here" is the new server, "there" is the old server.
    """

    IDENTICAL = "identical"
    EQUAL = "visually equal"
    ANSWERED = "answered"
    """The new server sent an image, which is not compared, because only one server was given."""
    SIZE = "different size"
    FORMAT = "different format"
    IMAGE = "different image"
    BYTES = "different bytes, not decoded"
    MISSING = "missing here"
    ERROR = "error here"
    FAILED_THERE = "failed there"

    @property
    def is_good(self) -> bool:
        return self in (Outcome.IDENTICAL, Outcome.EQUAL, Outcome.ANSWERED)

    @property
    def is_final(self) -> bool:
        """False if another run must request the URL again, because a server may have been stopped or overloaded."""
        return self not in (Outcome.ERROR, Outcome.FAILED_THERE)


@dataclass(frozen=True, slots=True)
class UrlResult:
    """The outcome for one URL, with the facts for the report.

    `here` and `there` describe the responses of the new and the old server in words. `mean` is the mean difference of
    the pixels, in levels from 0 to 255; None if they were not compared. `psnr_db` is also None if they are equal.
    """

    key: str
    target: str
    host: str | None
    requests: int
    outcome: Outcome
    here: str
    there: str = ""
    mean: float | None = None
    psnr_db: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return {**asdict(self), "outcome": self.outcome.value}

    @classmethod
    def from_json(cls, members: dict[str, Any]) -> UrlResult:
        """The result for the JSON object of to_json(). Raises ValueError, KeyError or TypeError for another object."""
        return cls(**{**members, "outcome": Outcome(members["outcome"])})


def outcome_of(comparison: Comparison, tolerance: float) -> Outcome:
    """The outcome of a comparison. Its first response is from the new server, its second from the old server.

    `tolerance` is the same as in Comparison.differences().
    """
    here, there = comparison.one, comparison.two
    if there.status != 200:
        is_same = here.status == there.status and there.status < 500 and there.status not in OVERLOADED
        return Outcome.IDENTICAL if is_same else Outcome.FAILED_THERE
    if (failure := failure_of(here.status)) is not None:
        return failure
    if here.media_type != there.media_type:
        return Outcome.FORMAT
    if here.digest == there.digest:
        return Outcome.IDENTICAL
    differs = comparison.differences(tolerance)
    if here.info is None and there.info is None:
        return Outcome.BYTES
    if "size" in differs:
        return Outcome.SIZE
    return Outcome.IMAGE if differs else Outcome.EQUAL


def failure_of(status: int) -> Outcome | None:
    """The outcome if the new server responds with an error status; None for the status 200."""
    if status == 200:
        return None
    return Outcome.MISSING if status in (404, 410) else Outcome.ERROR


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """The options of a replay that change its results. A run can continue another run only with the same options."""

    server: str
    against: str | None
    accept: str
    tolerance: float


class ResultFile:
    """The file of results, as JSON lines: first the options, then the results.

    If a URL has several results, the last one counts.
    """

    def __init__(self, path: Path, options: ReplayOptions) -> None:
        """Read the results of an earlier run, if the file exists. Raises BadRequest if that run had other options."""
        self.path = path
        self.by_key: dict[str, UrlResult] = {}
        self._options = options
        self._file: IO[str] | None = None
        self._read()

    def __enter__(self) -> ResultFile:
        """Open the file for add(). Removes an incomplete last line, which a crash left."""
        self._file = open_lines(self.path)
        if not self.path.stat().st_size:
            self._write({"cropmark_replay": FORMAT, **asdict(self._options)})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, result: UrlResult) -> None:
        """Append a result to the file."""
        self.by_key[result.key] = result
        self._write(result.to_json())

    def _write(self, members: dict[str, Any]) -> None:
        assert self._file is not None, "the file is opened by the with statement"
        self._file.write(json.dumps(members, ensure_ascii=True) + "\n")
        self._file.flush()

    def _read(self) -> None:
        lines = self._lines()
        options = next(lines, None)
        if options is None:
            return
        if options != {"cropmark_replay": FORMAT, **asdict(self._options)}:
            raise BadRequest(
                f"{self.path} has the results of a replay with other options", fix="name another folder with --out"
            )
        for members in lines:
            try:
                result = UrlResult.from_json(members)
            except (ValueError, KeyError, TypeError) as error:
                raise BadRequest(f"{self.path} is not a file of results", fix="remove it") from error
            self.by_key[result.key] = result

    def _lines(self) -> Iterator[dict[str, Any]]:
        for line in read_lines(self.path):
            try:
                members = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise BadRequest(f"{self.path} is not a file of results", fix="remove it") from error
            yield members if isinstance(members, dict) else {}
