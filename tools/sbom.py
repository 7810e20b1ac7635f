"""Write docs/sbom.json: the native libraries inside the wheels that cropmark runs on; with --check only say if it is new.

A system's package manager does not see them, and its updates do not mend them. What is known comes, in this order, from
the bill that a wheel brings itself (PEP 770), from the names of shared objects that lie in it, and from what libraries
say of themselves in their strings. A library that is there by its marks and does not tell its version is listed without
one, with the property `cropmark:version` = `unknown`; the newest that the wheel's own release notes name is then the
only thing to go by. CycloneDX 1.6, the same on every run: no time, no serial number.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "requirements" / "run.txt"
OUT = ROOT / "docs" / "sbom.json"

HERE = f"{platform.system()} {platform.machine()}, Python {sys.version_info.major}.{sys.version_info.minor}"
"""Wheels differ by it: where it is another one, nothing can be compared."""

_PIN = re.compile(r"^([A-Za-z0-9_.-]+)==", re.MULTILINE)
_STRING = re.compile(rb"[\x20-\x7e]{5,}")
_SHARED = re.compile(r"\.so(\.|$)")
_IN_LIBS = re.compile(r"(lib[A-Za-z0-9_+]+?)(?:-[0-9a-f]{8})+\.so((?:\.\d+)*)$")
_CRATE = re.compile(r"/registry/(?:src/)?[^/\s]+/([A-Za-z0-9_-]+?)-(\d+\.\d+\.\d+[^/\s]*)/")

# library, what it says of itself with its version
_TOLD = (
    ("libvips", r"^(8\.\d+\.\d+)$"),
    ("libarchive", r"^libarchive (\d+\.\d+\.\d+)$"),
    ("aom", r"^AOMedia Project AV1 Decoder v(\d+\.\d+\.\d+)$"),
    ("libjpeg-turbo", r"^libjpeg-turbo version (\d+\.\d+\.\d+)"),
    ("mozjpeg", r"^mozjpeg version (\d+\.\d+\.\d+)"),
    ("libpng", r"^(1\.6\.\d+)$"),
    ("zlib-ng", r"^(\d+(?:\.\d+)+)\.zlib-ng$"),
    ("rustc", r"^rustc version (\d+\.\d+\.\d+\S*)"),
    ("protobuf", r"/buildtrees/protobuf/src/v(\d+\.\d+)-"),
    ("abseil", r"/buildtrees/abseil/src/(\d+\.\d+)-"),
    ("openblas", r"OpenBLAS (\d+\.\d+\.\d+)"),
    ("openssl", r"^OpenSSL (\d+\.\d+\.\d+)"),
    ("sqlite", r"^(3\.\d+\.\d+)$"),
)

# library, a mark that it is there; asked where the line above found no version
_MARKS = (
    ("cairo", "CAIRO_REFERENCE_COUNT"),
    ("cgif", "cgif"),
    ("expat", "expat: Accounting"),
    ("fontconfig", "FONTCONFIG_SYSROOT"),
    ("freetype", "FREETYPE_PROPERTIES"),
    ("glib", "G_RANDOM_VERSION"),
    ("harfbuzz", "HB_SHAPER_LIST"),
    ("highway", "/hwy/targets.cc"),
    ("lcms2", "lcms"),
    ("libexif", "EXIF-2.1"),
    ("libheif", "heif_encoder"),
    ("librsvg", "librsvg"),
    ("libtiff", "tif_dir.c"),
    ("libultrahdr", "ultrahdr"),
    ("libwebp", "VP8X"),
    ("pango", "PangoFc"),
    ("pixman", "pixman-image.c"),
    ("llhttp", "llhttp_"),
)


@dataclass(slots=True)
class Found:
    """What lies in a wheel: versions by library, None where it does not tell."""

    natives: dict[str, str | None] = field(default_factory=dict)
    how: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, version: str | None, how: str) -> None:
        if name not in self.natives or (version is not None and self.natives[name] is None):
            self.natives[name] = version
            self.how[name] = how


def pinned() -> list[str]:
    """Names of all that a running cropmark needs."""
    return sorted({name.lower() for name in _PIN.findall(PINS.read_text("utf-8"))})


def natives_of(dist: Distribution) -> Found | None:
    """What a distribution brings beside Python; None where it is Python alone."""
    files = list(dist.files or ())
    shared = [f for f in files if _SHARED.search(f.name)]
    if not shared:
        return None
    found = Found()
    for bill in (f for f in files if "/sboms/" in str(f) and f.name.endswith(".json")):
        for name, version in _billed(json.loads(bill.read_text("utf-8")), dist):
            found.add(name, version, "the wheel's own bill")
    for one in shared:
        for name, version in _told(Path(str(dist.locate_file(one)))):
            found.add(name, version, "strings of the shared object")
    for one in shared:
        if named := _IN_LIBS.search(one.name):
            # Its numbers are those of its interface, not of its release.
            found.add(named[1], None, f"the name of a shared object, {named[1]}.so{named[2]}")
    return found


def _billed(bill: dict[str, Any], dist: Distribution) -> Iterator[tuple[str, str | None]]:
    own = _normal(dist.metadata["Name"])
    for component in bill.get("components", ()):
        if _normal(component["name"]) != own:
            yield component["name"], component.get("version")


def _normal(name: str) -> str:
    return name.lower().replace("_", "-")


@cache
def _told(path: Path) -> tuple[tuple[str, str | None], ...]:
    lines = [line.decode("ascii") for line in _STRING.findall(path.read_bytes())]
    text = "\n".join(lines)
    found: dict[str, str | None] = {}
    for name, pattern in _TOLD:
        if _belongs(name, path, text) and (match := re.search(pattern, text, re.MULTILINE)):
            found[name] = match[1]
    found |= dict(_CRATE.findall(text))
    found |= {name: None for name, mark in _MARKS if name not in found and mark in text and _belongs(name, path, text)}
    return tuple(sorted(found.items()))


def _belongs(name: str, path: Path, text: str) -> bool:
    """Bare numbers mean something only in the object they are looked for in."""
    match name:
        case "libvips" | "libpng":
            return "libvips" in path.name
        case "sqlite":
            return "sqlite" in path.name
        case "llhttp":
            return "_http_parser" in path.name
        case "libwebp" | "librsvg" | "lcms2" | "expat" | "glib" | "cgif":
            return "libvips" in path.name
        case _:
            return True


def bill() -> str:
    """The document."""
    components = []
    for name in pinned():
        try:
            dist = distribution(name)
        except ModuleNotFoundError:  # for another system
            continue
        if (found := natives_of(dist)) is not None:
            components.append(_component(dist, found))
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "name": "cropmark"},
            "properties": [{"name": "cropmark:made-on", "value": HERE}],
        },
        "components": components,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _component(dist: Distribution, found: Found) -> dict[str, Any]:
    name, version = _normal(dist.metadata["Name"]), dist.version
    return {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{version}",
        "components": [_native(n, v, found.how[n]) for n, v in sorted(found.natives.items())],
    }


def _native(name: str, version: str | None, how: str) -> dict[str, Any]:
    told = {"type": "library", "name": name}
    if version is not None:
        told["version"] = version
    facts = [("cropmark:told-by", how), *([] if version else [("cropmark:version", "unknown")])]
    return {**told, "properties": [{"name": key, "value": value} for key, value in facts]}


def untold(document: str) -> list[str]:
    """Libraries that are there and do not tell their version."""
    wheels: Iterable[dict[str, Any]] = json.loads(document)["components"]
    return [f"{one['name']} in {w['name']}" for w in wheels for one in w["components"] if "version" not in one]


def _checked(kept: str, document: str) -> int:
    if kept and HERE not in kept:
        print(f"docs/sbom.json was made on another system than {HERE}: not compared")
        return 0
    if kept != document:
        print("docs/sbom.json is not up to date: run make sbom")
    return int(kept != document)


def main() -> int:
    document = bill()
    kept = OUT.read_text("utf-8") if OUT.is_file() else ""
    if "--check" in sys.argv[1:]:
        return _checked(kept, document)
    if kept != document:
        OUT.write_text(document, "utf-8")
        print("docs/sbom.json written")
    print("no version told: " + ", ".join(untold(document)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
