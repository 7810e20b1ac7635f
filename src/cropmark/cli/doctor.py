"""cropmark doctor: checks this machine and prints a fix for each failure."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path

from cropmark.analysis import models
from cropmark.config.loader import Settings
from cropmark.config.paths import cache_folder, data_folder
from cropmark.config.production import SecurityCheck, errors, security_checks
from cropmark.config.source_spec import BucketSpec, OriginSpec
from cropmark.engine import heic, versions
from cropmark.library import garbage
from cropmark.library.errors import LibraryUnavailable
from cropmark.model.extras import EXTRAS, HEIF, Extra
from cropmark.model.formats import READABLE, Format
from cropmark.model.problems import SourceProblem, SourceTooLarge, SourceUnusable
from cropmark.plan.source import WebUrl
from cropmark.renderers.pool import Pool, PoolState
from cropmark.runtime import cgroups
from cropmark.server import library, shared_cache
from cropmark.server.components import build_pool
from cropmark.server.errors import StartupError
from cropmark.server.origins import bucket_issue, origin_policy
from cropmark.sources.original_cache import OriginalCache
from cropmark.sources.policy import Policy
from cropmark.sources.web import WebSource

NEEDED_MIB = 300
"""Memory of a server with two renderers, with some reserve."""
_WHEELS = {"libvips": "pyvips-binary", "simplejpeg": "simplejpeg"}


_ONE_WAY = {"HEIC": "decoded", "mp4": "encoded"}


class Status(Enum):
    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check: a line of the report."""

    status: Status
    what: str
    fix: str = ""


def checks(settings: Settings, *, fix: bool = False) -> Iterator[Check]:
    """Run all checks, and yield each result when it is ready.

    `fix`: files that a crash left in the library are removed.
    """
    yield _passed(sys.version_info >= (3, 11), f"Python {platform.python_version()}")
    yield from _packages()
    yield from _codecs()
    yield _folder("cache", cache_folder(settings), "or lower disk_cache_bytes")
    yield _folder("data", data_folder(settings), "or lower pixlab_result_bytes")
    yield from _library(settings, fix=fix)
    yield from _origins(settings)
    yield from _buckets(settings)
    yield from _shared_cache(settings)
    yield _memory()
    yield _smart(settings)
    yield from _renderers(settings)
    yield from _exposure(settings)


def _counted(count: int, noun: str) -> str:
    """A count with its noun, such as `1 file` or `2 files`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _passed(passed: bool, what: str, fix: str = "") -> Check:
    """The result OK if `passed`, else FAIL with the fix."""
    return Check(Status.OK, what) if passed else Check(Status.FAIL, what, fix)


def _packages() -> Iterator[Check]:
    for name in ("pyvips", "granian", "starlette", "aiohttp"):
        yield Check(Status.OK, f"{name} {metadata.version(name)}")
    for native in versions.loaded_libraries():
        older = "" if native.is_safe else f", older than {versions.format_version(native.minimum_version)}"
        fix = f"upgrade {_WHEELS[native.name]}: older decoders have known memory-safety bugs"
        yield _passed(native.is_safe, f"{native}{older}", fix)


def _codecs() -> Iterator[Check]:
    for name, error in versions.check_codecs():
        if error:
            yield Check(Status.FAIL, f"{name}: {error}", "install pyvips-binary; its libvips has all codecs")
        else:
            yield Check(Status.OK, f"{name} is {_ONE_WAY.get(name, 'decoded and encoded')}")
    not_read = ", ".join(format_.value for format_ in Format if format_ not in READABLE)
    yield Check(Status.OK, f"not read: {not_read}; such a source is sent unchanged or refused, by dialect")
    yield Check(
        Status.OK, 'svg is read and drawn, without text, if the setting svg is "rasterize"; otherwise svg is not read'
    )
    for extra in EXTRAS:
        yield _extra(extra)


def _extra(extra: Extra) -> Check:
    """The result for an optional extra: its installed package with version and license, or the way to install it.

    The status is WARN if the installed libheif has known memory-safety bugs, else OK.
    """
    package = extra.package
    if package is None:
        return Check(Status.OK, f"extra {extra.name} is not installed (pip install 'cropmark[{extra.name}]'): {extra}")
    installed = ", ".join(
        f"{each.name} {metadata.version(each.name)}, {each.license}" for each in (package, *extra.also)
    )
    found = f"extra {extra.name}: {installed}: {extra.about}"
    version, minimum = (heic.library_version(), heic.MINIMUM_LIBHEIF) if extra is HEIF else (None, None)
    if version is None or minimum is None or version >= minimum:
        return Check(Status.OK, found)
    older = f"its libheif {versions.format_version(version)} is older than {versions.format_version(minimum)}"
    return Check(Status.WARN, f"{found}; {older}", f"upgrade {package.name}: its decoder has known memory-safety bugs")


def _folder(name: str, folder: Path, alternative: str) -> Check:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free // 2**20
    except OSError as error:
        return Check(Status.FAIL, f"{name} folder {folder}: {error.strerror}", f"name another with --{name}")
    if free < 1024:
        return Check(Status.FAIL, f"{name} folder {folder}: {free} MiB free", f"free disk space, {alternative}")
    return Check(Status.OK, f"{name} folder {folder}: {free // 1024} GiB free")


def _library(settings: Settings, *, fix: bool) -> Iterator[Check]:
    """Check that each asset version in the library has its file, and that each stored file belongs to a version."""
    if not library.exists(settings):
        yield Check(Status.OK, "library: not in use")
        return
    try:
        store = library.open_library(settings)
    except LibraryUnavailable as error:
        yield Check(Status.FAIL, f"library: {error.what}", error.fix)
        return
    try:
        removed = garbage.collect_garbage(store, min_age_s=0.0) if fix else 0
        state = garbage.check(store)
    except OSError as error:
        yield Check(Status.FAIL, f"library: its storage cannot be used: {error}", "check library_store")
        return
    finally:
        store.close()
    if state.missing:
        yield Check(
            Status.FAIL, f"library: the bytes of {_counted(len(state.missing), 'file')} are missing", "restore a backup"
        )
    else:
        yield Check(Status.OK, f"library: {_counted(state.stored, 'file')}, each with its bytes")
    if fix:
        yield Check(Status.OK, f"library: {_counted(removed, 'unused file')} removed")
    elif state.orphans:
        yield Check(Status.WARN, f"library: {_counted(len(state.orphans), 'unused file')}", "cropmark doctor --fix")


def _origins(settings: Settings) -> Iterator[Check]:
    """Check that the web origin of each site responds, with a request under the same rules as the server's requests."""
    for site in settings.site:
        if isinstance(site.source, OriginSpec):
            try:
                policy = origin_policy(settings, site, site.source)
            except StartupError as error:
                yield Check(Status.FAIL, error.message, error.fix)
                continue
            reason = asyncio.run(_unreachable_reason(policy, site.source.url))
            message = f"{site.display_name}: the origin {site.source} "
            fix = "start it, or correct the site's source"
            yield Check(Status.WARN, message + reason, fix) if reason else Check(Status.OK, message + "responds")


async def _unreachable_reason(policy: Policy, url: str) -> str:
    """The reason why an origin does not respond; empty if it responds, with any status."""
    with tempfile.TemporaryDirectory() as folder:
        source = WebSource(policy, OriginalCache(Path(folder), 0))
        try:
            (await source.open(WebUrl(url))).close()
        except SourceProblem as problem:
            responds = problem.origin_status is not None or isinstance(problem, SourceUnusable | SourceTooLarge)
            return "" if responds else problem.detail.removeprefix("the image's server ")
        finally:
            await source.close()
    return ""


def _buckets(settings: Settings) -> Iterator[Check]:
    """Check that the images of each site's bucket can be read, with one request to each bucket."""
    for site in settings.site:
        if isinstance(site.source, BucketSpec):
            issue = asyncio.run(bucket_issue(settings, site, site.source))
            if issue is None:
                yield Check(Status.OK, f"site {site.display_name}: {site.source} can be read")
            else:
                status = Status.FAIL if issue.is_certain else Status.WARN
                yield Check(status, issue.message, issue.fix)


def _shared_cache(settings: Settings) -> Iterator[Check]:
    """Check that objects in the shared cache can be written, read, listed and deleted.

    The status of a failure is WARN, because the server also runs without the shared cache.
    """
    if settings.shared_cache:
        issue = asyncio.run(shared_cache.find_issue(settings))
        if issue is None:
            yield Check(Status.OK, "the shared cache can be read and written")
        else:
            yield Check(Status.WARN, issue.message, issue.fix)


def _memory() -> Check:
    if not hasattr(os, "sysconf") or "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return Check(Status.WARN, "free memory: this system does not report it")
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    mib = min([free, *cgroups.memory_limits()]) // 2**20
    if mib < NEEDED_MIB:
        return Check(Status.FAIL, f"{mib} MiB of memory free", f"free {NEEDED_MIB} MiB, or use fewer --renderers")
    return Check(Status.OK, f"{mib} MiB of memory free, {cgroups.cores()} cores")


def _smart(settings: Settings) -> Check:
    if not settings.smart_crop:
        return Check(Status.OK, "content-aware cropping is off: smart crops are centered")
    reason = models.unavailable_reason()
    if reason:
        return Check(Status.WARN, f"content-aware cropping is unavailable: {reason}", "install cropmark[smart]")
    try:
        models.load_models()
    except models.ModelUnusable as error:
        return Check(Status.FAIL, f"content-aware cropping: {error}", "reinstall cropmark")
    return Check(Status.OK, "content-aware cropping: both networks are intact")


def _renderers(settings: Settings) -> Iterator[Check]:
    try:
        state = asyncio.run(_start_and_close(build_pool(settings)))
    except Exception as error:  # noqa: BLE001 - any reason why a renderer does not start is the result of the check
        yield Check(Status.FAIL, f"renderers do not start: {error}", 'try sandbox = "off" to rule out the sandbox')
        return
    yield Check(Status.OK, f"{_counted(state.alive, 'renderer')} can start")
    if state.sandboxed:
        yield Check(Status.OK, "renderers are sandboxed: a decoder cannot reach files, sockets or processes")
    else:
        missing = ", ".join(state.missing_layers) or "switched off"
        yield Check(Status.WARN, f"the renderers' sandbox is not fully active: {missing}", "see docs/security.md")


async def _start_and_close(pool: Pool) -> PoolState:
    await pool.start()
    try:
        return pool.state()
    finally:
        await pool.close()


def _exposure(settings: Settings) -> Iterator[Check]:
    """Run the security checks of docs/security.md.

    The status of a failed check is WARN, because a deployment may have a reason for it. It is FAIL for a setting that
    prevents the server from starting.
    """
    for issue in errors(settings):
        yield Check(Status.FAIL, f"{issue.location}: {issue.message}", issue.fix)
    if settings.folder is None and not settings.site and not library.exists(settings):
        settings = settings.model_copy(update={"folder": Path()})  # as `serve FOLDER` sets it
    results = [*security_checks(settings), *_process_checks()]
    for result in results:
        if result.passed:
            yield Check(Status.OK, result.message)
        else:
            yield Check(Status.WARN, result.message, result.fix)
    passed = sum(result.passed for result in results)
    status = Status.OK if passed == len(results) else Status.WARN
    yield Check(status, f"{passed} of {len(results)} checks of docs/security.md pass")


def _process_checks() -> Iterator[SecurityCheck]:
    unlimited = "VIPS_UNLIMITED" in os.environ
    yield SecurityCheck(
        not unlimited, f"VIPS_UNLIMITED is {'' if unlimited else 'not '}set (check 29)", "unset VIPS_UNLIMITED"
    )
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    user = "root" if root else "an unprivileged user"
    yield SecurityCheck(not root, f"runs as {user} (check 50)", "run it as a user of its own")
