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
from cropmark.config.production import SecurityCheck, errors, points
from cropmark.engine import versions
from cropmark.library import garbage
from cropmark.library.errors import LibraryUnavailable
from cropmark.renderers.pool import Pool, PoolState
from cropmark.runtime import cgroups
from cropmark.server import library
from cropmark.server.wiring import pool_of

NEEDED_MIB = 300
"""What a server with two renderers takes, and a little more."""


_WHEELS = {"libvips": "pyvips-binary", "simplejpeg": "simplejpeg"}


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was found, whether it is good (None: neither), and what to do about it."""

    status: bool | None
    what: str
    fix: str = ""


def findings(settings: Settings, *, mend: bool = False) -> Iterator[Check]:
    """All lines, each as soon as it is known. `mend`: what a crash left behind in the library is removed."""
    version = platform.python_version()
    yield Check(sys.version_info >= (3, 11), f"Python {version}", "")
    yield from _libraries()
    yield from _codecs()
    yield _folder("cache", cache_folder(settings), "or set disk_cache lower")
    yield _folder("data", data_folder(settings), "or set pixlab_results lower")
    yield from _library(settings, mend=mend)
    yield _memory()
    yield _smart(settings)
    yield from _renderers(settings)
    yield from _exposure(settings)


def _libraries() -> Iterator[Check]:
    for name in ("pyvips", "granian", "starlette", "aiohttp"):
        yield Check(None, f"{name} {metadata.version(name)}")
    for one in versions.libraries():
        old = "" if one.is_safe else f", older than {versions.dotted(one.minimum_version)}"
        mend = "" if one.is_safe else f"upgrade {_WHEELS[one.name]}: older decoders have known memory bugs"
        yield Check(one.is_safe, f"{one}{old}", mend)


def _codecs() -> Iterator[Check]:
    for name, trouble in versions.codecs():
        if trouble:
            yield Check(False, f"{name}: {trouble}", "install pyvips-binary, whose libvips has all of them")
        else:
            yield Check(True, f"{name} is read and written")


def _folder(name: str, folder: Path, instead: str) -> Check:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free // 2**20
    except OSError as error:
        return Check(False, f"{name} folder {folder}: {error.strerror}", f"name another with --{name}")
    if free < 1024:
        return Check(False, f"{name} folder {folder}: {free} MiB free", f"make room, {instead}")
    return Check(True, f"{name} folder {folder}: {free // 1024} GiB free")


def _library(settings: Settings, *, mend: bool) -> Iterator[Check]:
    """Whether every version has its bytes, and all bytes a version."""
    if not library.is_there(settings):
        yield Check(None, "no library: nothing was put into one")
        return
    try:
        store = library.opened(settings)
    except LibraryUnavailable as error:
        yield Check(False, f"library: {error.what}", error.fix)
        return
    try:
        count = garbage.mended(store, young_s=0.0) if mend else 0
        state = garbage.state_of(store)
    except OSError as error:
        yield Check(False, f"library: its storage cannot be used: {error}", "check library_store")
        return
    finally:
        store.close()
    if state.lost:
        yield Check(False, f"library: the bytes of {len(state.lost)} files are lost", "bring them from a backup")
    else:
        yield Check(True, f"library: {state.kept} files, each with its bytes")
    if mend:
        yield Check(True, f"library: {count} files that no asset has were removed")
    elif state.orphans:
        yield Check(None, f"library: {len(state.orphans)} files that no asset has", "cropmark doctor --mend")


def _memory() -> Check:
    if not hasattr(os, "sysconf") or "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return Check(None, "free memory cannot be told on this system")
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    mib = min([free, *cgroups.memory_limits()]) // 2**20
    if mib < NEEDED_MIB:
        return Check(False, f"{mib} MiB of memory to use", f"a server wants {NEEDED_MIB} MiB: use fewer --renderers")
    return Check(True, f"{mib} MiB of memory to use, {cgroups.cores()} cores")


def _smart(settings: Settings) -> Check:
    if not settings.smart:
        return Check(None, "content-aware cropping is switched off: smart means the center")
    missing = models.available()
    if missing:
        return Check(None, f"no content-aware cropping: {missing}", "install cropmark[smart]")
    try:
        models.load()
    except models.ModelUnusable as error:
        return Check(False, f"content-aware cropping: {error}", "install cropmark anew")
    return Check(True, "content-aware cropping: both networks are whole")


def _renderers(settings: Settings) -> Iterator[Check]:
    try:
        state = asyncio.run(_tried(pool_of(settings)))
    except Exception as error:  # noqa: BLE001 - whatever keeps a renderer from starting is the finding
        yield Check(False, f"no renderer starts: {error}", 'set sandbox = "off" to see whether the sandbox is why')
        return
    yield Check(True, f"{state.alive} renderers start")
    if state.sandboxed:
        yield Check(True, "renderers are sandboxed: no file, socket or process can be reached from a decoder")
    else:
        missing = ", ".join(state.missing) or "switched off"
        yield Check(None, f"renderers work without a whole sandbox: {missing}", "see docs/security.md")


def _exposure(settings: Settings) -> Iterator[Check]:
    """How the deployment stands against docs/security.md; what is not kept is a note."""
    for mistake in errors(settings):
        yield Check(False, f"{mistake.where}: {mistake.what}", mistake.fix)
    if settings.folder is None and not settings.site and not library.is_there(settings):
        settings = settings.model_copy(update={"folder": Path()})  # as serve FOLDER will have it
    found = [*points(settings), *_place()]
    for point in found:
        yield Check(point.passed or None, point.what, "" if point.passed else point.fix)
    kept = sum(point.passed for point in found)
    yield Check(None, f"{kept} of {len(found)} points of docs/security.md are kept", "")


def _place() -> Iterator[SecurityCheck]:
    """Where it runs."""
    unlimited = "VIPS_UNLIMITED" in os.environ
    yield SecurityCheck(
        not unlimited, f"VIPS_UNLIMITED is {'' if unlimited else 'not '}set (check 29)", "unset VIPS_UNLIMITED"
    )
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    yield SecurityCheck(
        not root, f"it runs as {'root' if root else 'a user of no privilege'} (check 50)", "use a user of its own"
    )


async def _tried(pool: Pool) -> PoolState:
    await pool.start()
    try:
        return pool.state()
    finally:
        await pool.close()
