"""Case files: reading and validating them. README.md in the parent folder describes the fields."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cropmark.dialects.registry import names

Case = dict[str, Any]  # one line of a case file: JSON, with other fields in each case

# A dialect on a site with settings of its own.
SITES = (
    "fastly-down",
    "fastly-p3",
    "fastly-animated",
    "fastly-video",
    "fastly-hdr",
    "kontent-p3",
    "imgix-signed",
    "thumbor-locked",
    "thumbor-auto",
)
CERTAINTIES = ("stated", "derived", "judgement")
EXTENSIONS = {
    "png": "png",
    "png8": "png",
    "apng": "png",
    "jpeg": "jpg",
    "jpg": "jpg",
    "pjpeg": "jpg",
    "webp": "webp",
    "gif": "gif",
    "avif": "avif",
    "heic": "heic",
    "jxl": "jxl",
    "bmp": "bmp",
    "tiff": "tiff",
    "svg": "svg",
}
TURN_ALIASES = {"vh": "hv", "180": "hv", "90": "r", "270": "l", "transpose": "transposed", "transverse": "transversed"}
TURN_NAMES = ("as-is", "l", "r", "h", "v", "hv", "transposed", "transversed")

_CASE_FIELDS = {
    *("id", "source", "second_source", "query", "params", "method", "headers", "expect", "certainty", "doc", "why"),
    *("url", "dialect", "client", "call", "body", "file_name", "endpoint", "note", "notes", "path", "setup", "tags"),
}
_SOURCE_FIELDS = {
    *("kind", "width", "height", "format", "alpha", "frames", "orientation", "color", "background", "box"),
    *("name", "duration", "quality", "profile"),
}
_EXPECT_FIELDS = {
    *("status", "format", "width", "height", "size_tolerance", "region", "region_tolerance", "pixels", "frames"),
    *("identical_to_source", "headers", "json", "error_contains", "turn", "max_bytes", "min_bytes"),
    *("smaller_than_source", "body_contains"),
}
_EXPECT_FORMATS = {
    *("jpeg", "jpg", "pjpeg", "pjpg", "bjpeg", "png", "png8", "png24", "png32", "apng", "webp", "webpll", "webply"),
    *("gif", "avif", "jxl", "svg", "mp4", "json", "heic", "html", "text", "tiff", "bmp"),
}
_PIXEL_FIELDS = {"x", "y", "rgba", "tolerance", "frame", "why"}
_METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "POST-json", "POST-multipart", "POST-form"}
_KINDS = ("gradient", "exact", "solid", "framed", "file", "none")
_LOSSY = {"jpeg", "jpg", "pjpeg", "avif", "webply", "gif"}


class CaseError(Exception):
    """The case cannot be run as it is written."""


def load(paths: list[Path]) -> tuple[list[tuple[str, Case]], list[str]]:
    """The cases of files and folders, each with its dialect, and the problems found in the files."""
    cases: list[tuple[str, Case]] = []
    problems: list[str] = []
    first_seen: dict[str, str] = {}
    for path, number, line in _lines(paths):
        place = f"{path.name}:{number}"
        try:
            case = json.loads(line)
            case_id = case["id"]
        except (ValueError, KeyError, TypeError) as error:
            problems.append(f"{place}: {type(error).__name__} {error}")
            continue
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", case_id):
            problems.append(f"{place}: id {case_id!r} cannot name a file")
            continue
        if case_id in first_seen:
            problems.append(f"{place}: id {case_id} is also at {first_seen[case_id]}")
            continue
        first_seen[case_id] = place
        problems += [f"{place} {case_id}: {problem}" for problem in case_problems(case)]
        cases.append((dialect_of(case, path), case))
    return cases, problems


def dialect_of(case: Case, path: Path) -> str:
    """The case's `dialect`, else the dialect named by the file or the case id."""
    if case.get("dialect"):
        return str(case["dialect"])
    for text in (path.stem, case.get("id", "")):
        for name in sorted((*SITES, *names()), key=len, reverse=True):
            if text.startswith(name) or re.search(rf"(^|[-_.]){name}([-_.]|$)", text):
                return name
    return path.stem


def has_source(case: Case) -> bool:
    """True if the runner makes a source image for the case."""
    source = case.get("source")
    return source is not None and source != {} and source.get("kind") != "none"


def source_name(case: Case) -> str:
    """The source's file name, which PixLab's multipart upload also sends."""
    if case.get("file_name"):
        return str(case["file_name"])
    source = case["source"]
    if source.get("kind") == "file":
        return f"{case['id']}{Path(source['name']).suffix}"
    return f"{case['id']}.{EXTENSIONS[source.get('format', 'png')]}"


def source_path(case: Case) -> str:
    """The source's path below the folder of sources and below the dialect's base URL."""
    if not has_source(case):
        return str(case.get("path") or f"{case['id']}.png")
    in_own_folder = case.get("second_source") or case.get("file_name")
    return f"{case['id']}/{source_name(case)}" if in_own_folder else source_name(case)


def overlay_path(case: Case) -> str:
    """The path of the second source, which is always called `overlay`."""
    source = case["second_source"]
    is_file = source.get("kind") == "file"
    extension = Path(source["name"]).suffix[1:] if is_file else EXTENSIONS[source.get("format", "png")]
    return f"{case['id']}/overlay.{extension}"


def case_problems(case: Case) -> list[str]:
    """Unknown fields and values, and expectations that the runner cannot check."""
    expect = case.get("expect") or {}
    problems = [f"unknown case field {name!r}" for name in set(case) - _CASE_FIELDS]
    problems += _source_problems(case, "source") + _source_problems(case, "second_source")
    problems += [f"unknown expect field {name!r}" for name in set(expect) - _EXPECT_FIELDS]
    for pixel in expect.get("pixels") or []:
        problems += [f"unknown pixels field {name!r}" for name in set(pixel) - _PIXEL_FIELDS]
    if case.get("method", "GET") not in _METHODS:
        problems.append(f"unknown method {case['method']!r}")
    if case.get("certainty") not in CERTAINTIES:
        problems.append(f"unknown certainty {case.get('certainty')!r}")
    problems += _region_problems(case)
    if "{overlay}" in json.dumps(case) and not case.get("second_source"):
        problems.append("{overlay} without second_source")
    if not expect:
        problems.append("no expect")
    if "turn" in expect and TURN_ALIASES.get(expect["turn"], expect["turn"]) not in TURN_NAMES:
        problems.append(f"unknown turn {expect['turn']!r}")
    formats = [name for name in as_list(expect.get("format")) if name is not None]
    return problems + [f"unknown expect format {name!r}" for name in formats if name not in _EXPECT_FORMATS]


def as_list(value: Any) -> list[Any]:
    """A list as it is, any other value as a list of one."""
    return value if isinstance(value, list) else [value]


def _lines(paths: list[Path]) -> Iterator[tuple[Path, int, str]]:
    files = [file for path in paths for file in (sorted(path.glob("*.jsonl")) if path.is_dir() else [path])]
    for file in files:
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
            if line.strip() and not line.lstrip().startswith(("#", "//")):
                yield file, number, line


def _source_problems(case: Case, field: str) -> list[str]:
    source = case.get(field)
    if source is None:
        return []
    if not isinstance(source, dict):
        return [f"{field} is not an object"]
    problems = [f"unknown {field} field {name!r}" for name in set(source) - _SOURCE_FIELDS]
    if source.get("kind") not in _KINDS:
        problems.append(f"unknown {field} kind {source.get('kind')!r}")
    if source.get("kind") not in ("file", "none") and source.get("format", "png") not in EXTENSIONS:
        problems.append(f"unknown {field} format {source.get('format')!r}")
    return problems


def _region_problems(case: Case) -> list[str]:
    source, expect = case.get("source") or {}, case.get("expect") or {}
    if "region" not in expect:
        return []
    if source.get("kind") in ("solid", "file"):
        return [f"a region of a {source['kind']} source cannot be read"]
    if source.get("kind") != "exact":
        return []
    problems = []
    if source.get("format") in _LOSSY or set(as_list(expect.get("format"))) & _LOSSY:
        problems.append("a region of an exact source after a lossy format cannot be read")
    if source.get("frames") and max(source.get("width", 0), source.get("height", 0)) > 256:
        problems.append("a region of an exact source with frames cannot be read above 256 px")
    return problems
