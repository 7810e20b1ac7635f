"""Looks at this machine and says, line by line, what is good, what is bad, and how to mend it."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from cropmark.analysis import models
from cropmark.config.loader import Settings
from cropmark.config.paths import cache_folder, data_folder
from cropmark.config.production import Point, points, refusals
from cropmark.engine import versions
from cropmark.library import garbage
from cropmark.library.errors import LibraryUnusable
from cropmark.renderers.pool import Pool, PoolState
from cropmark.runtime import cgroups
from cropmark.server import library
from cropmark.server.wiring import pool_of

NEEDED_MIB = 300
"""What a server with two renderers takes, and a little more."""


_WHEELS = {"libvips": "pyvips-binary", "simplejpeg": "simplejpeg"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was found, whether it is good (None: neither), and what to do about it."""

    good: bool | None
    what: str
    mend: str = ""


def findings(settings: Settings, *, mend: bool = False) -> Iterator[Finding]:
    """All lines, each as soon as it is known. `mend`: what a crash left behind in the library is removed."""
    version = platform.python_version()
    yield Finding(sys.version_info >= (3, 11), f"Python {version}", "")
    yield from _libraries()
    yield from _codecs()
    yield _folder("cache", cache_folder(settings), "or set disk_cache lower")
    yield _folder("data", data_folder(settings), "or set pixlab_results lower")
    yield from _library(settings, mend=mend)
    yield _memory()
    yield _smart(settings)
    yield from _renderers(settings)
    yield from _exposure(settings)


def _libraries() -> Iterator[Finding]:
    for name in ("pyvips", "granian", "starlette", "aiohttp"):
        yield Finding(None, f"{name} {metadata.version(name)}")
    for one in versions.libraries():
        old = "" if one.sound else f", older than {versions.dotted(one.floor)}"
        mend = "" if one.sound else f"upgrade {_WHEELS[one.name]}: older decoders have known memory bugs"
        yield Finding(one.sound, f"{one}{old}", mend)


def _codecs() -> Iterator[Finding]:
    for name, trouble in versions.codecs():
        if trouble:
            yield Finding(False, f"{name}: {trouble}", "install pyvips-binary, whose libvips has all of them")
        else:
            yield Finding(True, f"{name} is read and written")


def _folder(name: str, folder: Path, instead: str) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free // 2**20
    except OSError as error:
        return Finding(False, f"{name} folder {folder}: {error.strerror}", f"name another with --{name}")
    if free < 1024:
        return Finding(False, f"{name} folder {folder}: {free} MiB free", f"make room, {instead}")
    return Finding(True, f"{name} folder {folder}: {free // 1024} GiB free")


def _library(settings: Settings, *, mend: bool) -> Iterator[Finding]:
    """Whether every version has its bytes, and all bytes a version."""
    if not library.is_there(settings):
        yield Finding(None, "no library: nothing was put into one")
        return
    try:
        store = library.opened(settings)
    except LibraryUnusable as error:
        yield Finding(False, f"library: {error.what}", error.mend)
        return
    try:
        count = garbage.mended(store, young_s=0.0) if mend else 0
        state = garbage.state_of(store)
    except OSError as error:
        yield Finding(False, f"library: its storage cannot be used: {error}", "check library_store")
        return
    finally:
        store.close()
    if state.lost:
        yield Finding(False, f"library: the bytes of {len(state.lost)} files are lost", "bring them from a backup")
    else:
        yield Finding(True, f"library: {state.kept} files, each with its bytes")
    if mend:
        yield Finding(True, f"library: {count} files that no asset has were removed")
    elif state.orphans:
        yield Finding(None, f"library: {len(state.orphans)} files that no asset has", "cropmark doctor --mend")


def _memory() -> Finding:
    if not hasattr(os, "sysconf") or "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return Finding(None, "free memory cannot be told on this system")
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    mib = min([free, *cgroups.memory_limits()]) // 2**20
    if mib < NEEDED_MIB:
        return Finding(False, f"{mib} MiB of memory to use", f"a server wants {NEEDED_MIB} MiB: use fewer --renderers")
    return Finding(True, f"{mib} MiB of memory to use, {cgroups.cores()} cores")


def _smart(settings: Settings) -> Finding:
    if not settings.smart:
        return Finding(None, "content-aware cropping is switched off: smart means the centre")
    missing = models.available()
    if missing:
        return Finding(None, f"no content-aware cropping: {missing}", "install cropmark[smart]")
    try:
        models.load()
    except models.ModelUnusable as error:
        return Finding(False, f"content-aware cropping: {error}", "install cropmark anew")
    return Finding(True, "content-aware cropping: both networks are whole")


def _renderers(settings: Settings) -> Iterator[Finding]:
    try:
        state = asyncio.run(_tried(pool_of(settings)))
    except Exception as error:  # noqa: BLE001 - whatever keeps a renderer from starting is the finding
        yield Finding(False, f"no renderer starts: {error}", 'set sandbox = "off" to see whether the sandbox is why')
        return
    yield Finding(True, f"{state.alive} renderers start")
    if state.sandboxed:
        yield Finding(True, "renderers are sandboxed: no file, socket or process can be reached from a decoder")
    else:
        missing = ", ".join(state.missing) or "switched off"
        yield Finding(None, f"renderers work without a whole sandbox: {missing}", "see docs/security.md")


def _exposure(settings: Settings) -> Iterator[Finding]:
    """How the deployment stands against docs/security.md; what is not kept is a note."""
    for mistake in refusals(settings):
        yield Finding(False, f"{mistake.where}: {mistake.what}", mistake.mend)
    if settings.folder is None and not settings.site and not library.is_there(settings):
        settings = settings.model_copy(update={"folder": Path()})  # as serve FOLDER will have it
    found = [*points(settings), *_place()]
    for point in found:
        yield Finding(point.kept or None, point.what, "" if point.kept else point.mend)
    kept = sum(point.kept for point in found)
    yield Finding(None, f"{kept} of {len(found)} points of docs/security.md are kept", "")


def _place() -> Iterator[Point]:
    """Where it runs."""
    unlimited = "VIPS_UNLIMITED" in os.environ
    yield Point(not unlimited, f"VIPS_UNLIMITED is {'' if unlimited else 'not '}set (check 29)", "unset VIPS_UNLIMITED")
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    yield Point(
        not root, f"it runs as {'root' if root else 'a user of no privilege'} (check 50)", "use a user of its own"
    )


async def _tried(pool: Pool) -> PoolState:
    await pool.start()
    try:
        return pool.state()
    finally:
        await pool.close()
