"""Writes docs/sbom.json: the native libraries inside the wheels that cropmark needs; with --check, only compares.

A system's package manager does not know these libraries and does not update them. The sources of information are, in
this order: the SBOM inside a wheel (PEP 770), the names of its shared objects, and version strings in the libraries.
A library that is recognized but has no version string is listed without a version, with the property
`cropmark:version` = `unknown`; its version is then at most the newest one in the wheel's release notes. The format is
CycloneDX 1.6, without time and serial number, so that every run writes the same file.
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
"""This system. Wheels differ by system, so a file from another system is not compared."""

_PIN = re.compile(r"^([A-Za-z0-9_.-]+)==", re.MULTILINE)
_STRING = re.compile(rb"[\x20-\x7e]{5,}")
_SHARED = re.compile(r"\.so(\.|$)")
_IN_LIBS = re.compile(r"(lib[A-Za-z0-9_+]+?)(?:-[0-9a-f]{8})+\.so((?:\.\d+)*)$")
_CRATE = re.compile(r"/registry/(?:src/)?[^/\s]+/([A-Za-z0-9_-]+?)-(\d+\.\d+\.\d+[^/\s]*)/")

# library, pattern of its version string
_VERSIONS = (
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

# library, text that identifies it; searched if no version string was found
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
class NativeLibraries:
    """Native libraries of a wheel: the version of each, None if unknown, and the source of that information."""

    versions: dict[str, str | None] = field(default_factory=dict)
    evidence: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, version: str | None, evidence: str) -> None:
        if name not in self.versions or (version is not None and self.versions[name] is None):
            self.versions[name] = version
            self.evidence[name] = evidence


def pinned() -> list[str]:
    """Names of all packages that cropmark needs at run time."""
    return sorted({name.lower() for name in _PIN.findall(PINS.read_text("utf-8"))})


def native_libraries(dist: Distribution) -> NativeLibraries | None:
    """The native libraries of a distribution; None if it contains only Python."""
    files = list(dist.files or ())
    shared = [f for f in files if _SHARED.search(f.name)]
    if not shared:
        return None
    found = NativeLibraries()
    for sbom in (f for f in files if "/sboms/" in str(f) and f.name.endswith(".json")):
        for name, version in _sbom_components(json.loads(sbom.read_text("utf-8")), dist):
            found.add(name, version, "the SBOM in the wheel")
    for one in shared:
        for name, version in _detect(Path(str(dist.locate_file(one)))):
            found.add(name, version, "strings of the shared object")
    for one in shared:
        if named := _IN_LIBS.search(one.name):
            # The number is that of the interface, not of the release.
            found.add(named[1], None, f"the name of a shared object, {named[1]}.so{named[2]}")
    return found


def _sbom_components(sbom: dict[str, Any], dist: Distribution) -> Iterator[tuple[str, str | None]]:
    own = _normal(dist.metadata["Name"])
    for component in sbom.get("components", ()):
        if _normal(component["name"]) != own:
            yield component["name"], component.get("version")


def _normal(name: str) -> str:
    return name.lower().replace("_", "-")


@cache
def _detect(path: Path) -> tuple[tuple[str, str | None], ...]:
    lines = [line.decode("ascii") for line in _STRING.findall(path.read_bytes())]
    text = "\n".join(lines)
    found: dict[str, str | None] = {}
    for name, pattern in _VERSIONS:
        if _may_contain(name, path, text) and (match := re.search(pattern, text, re.MULTILINE)):
            found[name] = match[1]
    found |= dict(_CRATE.findall(text))
    found |= {
        name: None for name, mark in _MARKS if name not in found and mark in text and _may_contain(name, path, text)
    }
    return tuple(sorted(found.items()))


def _may_contain(name: str, path: Path, text: str) -> bool:
    """True if the object may contain the library: a bare number is a version in one object only."""
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


def sbom() -> str:
    """The SBOM as JSON."""
    components = []
    for name in pinned():
        try:
            dist = distribution(name)
        except ModuleNotFoundError:  # needed on another system only
            continue
        if (found := native_libraries(dist)) is not None:
            components.append(_component(dist, found))
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "name": "cropmark"},
            "properties": [{"name": "cropmark:created-on", "value": HERE}],
        },
        "components": components,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _component(dist: Distribution, found: NativeLibraries) -> dict[str, Any]:
    name, version = _normal(dist.metadata["Name"]), dist.version
    return {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{version}",
        "components": [_native(n, v, found.evidence[n]) for n, v in sorted(found.versions.items())],
    }


def _native(name: str, version: str | None, evidence: str) -> dict[str, Any]:
    component = {"type": "library", "name": name}
    if version is not None:
        component["version"] = version
    facts = [("cropmark:detected-by", evidence), *([] if version else [("cropmark:version", "unknown")])]
    return {**component, "properties": [{"name": key, "value": value} for key, value in facts]}


def without_version(document: str) -> list[str]:
    """Libraries of unknown version, each with its wheel."""
    wheels: Iterable[dict[str, Any]] = json.loads(document)["components"]
    return [f"{one['name']} in {w['name']}" for w in wheels for one in w["components"] if "version" not in one]


def _check(stored: str, document: str) -> int:
    if stored and HERE not in stored:
        print(f"docs/sbom.json was created on another system than {HERE}: not compared")
        return 0
    if stored != document:
        print("docs/sbom.json is not up to date: run make sbom")
    return int(stored != document)


def main() -> int:
    document = sbom()
    stored = OUT.read_text("utf-8") if OUT.is_file() else ""
    if "--check" in sys.argv[1:]:
        return _check(stored, document)
    if stored != document:
        OUT.write_text(document, "utf-8")
        print("docs/sbom.json written")
    print("unknown versions: " + ", ".join(without_version(document)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
