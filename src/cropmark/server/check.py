"""Checks settings before a start: finds missing folders, unreachable buckets, and rules that cannot be parsed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from cropmark.config.addresses import socket_path
from cropmark.config.errors import ConfigIssue, InvalidConfiguration
from cropmark.config.loader import LoadedSettings
from cropmark.config.production import errors
from cropmark.config.source_spec import BucketSpec, FolderSpec, OriginSpec
from cropmark.server import library, shared_cache
from cropmark.server.errors import StartupError
from cropmark.server.listening import check_listen_host
from cropmark.server.origins import BucketIssue, bucket_issue, origin_policy
from cropmark.server.policies import client_ip, rate_limiter, untrusted_policy
from cropmark.web.routing import OPERATOR_PATHS, is_operator_path


def find_issues(loaded: LoadedSettings) -> Iterator[ConfigIssue]:
    """Every issue that prevents the server from starting or a site from working, with its line and its fix."""
    yield from _policy_issues(loaded)
    yield from _folder_issues(loaded)
    yield from _origin_issues(loaded)
    yield from _shared_cache_issues(loaded)
    yield from _mount_issues(loaded)
    yield from _port_issues(loaded)
    for name, error in library.invalid_settings(loaded.settings):
        message = f"{name}: {error.what.removeprefix(f'{name}: ')}"
        yield ConfigIssue(loaded.location((name,)), message, error.fix)
    for issue in errors(loaded.settings):
        yield _located(loaded, issue)


def _located(loaded: LoadedSettings, issue: ConfigIssue) -> ConfigIssue:
    """The issue with the location of its setting, or the location of `production` if the setting has its default."""
    locations = [loaded.location((name,)) for name in (issue.location, "production")]
    location = next((one for one in locations if one != "default"), "default")
    return ConfigIssue(location, f"{issue.location}: {issue.message}", issue.fix)


def _policy_issues(loaded: LoadedSettings) -> Iterator[ConfigIssue]:
    """Issues with the listening host, trusted proxies, allowed hosts, and the URL of Redis."""
    for parse in (check_listen_host, client_ip, untrusted_policy, rate_limiter):
        try:
            parse(loaded.settings)
        except InvalidConfiguration as error:
            for issue in error.issues:
                yield _located(loaded, issue)


def _folder_issues(loaded: LoadedSettings) -> Iterator[ConfigIssue]:
    settings = loaded.settings
    if settings.folder is not None and not settings.folder.is_dir():
        message = f"folder: {settings.folder} is not a folder"
        yield ConfigIssue(loaded.location(("folder",)), message, "name a folder of images")
    for number, site in enumerate(settings.site):
        if isinstance(site.source, FolderSpec) and not site.source.path.is_dir():
            message = f"site.{number}.source: {site.source} is not a folder"
            fix = "name a folder, the origin's https:// URL, a bucket, or library"
            yield ConfigIssue(loaded.location(("site", number, "source")), message, fix)


def _origin_issues(loaded: LoadedSettings) -> Iterator[ConfigIssue]:
    """Issues with the headers of web origins, and with access to buckets. Sends one request to each bucket."""
    for number, site in enumerate(loaded.settings.site):
        issue: StartupError | BucketIssue | None = None
        if isinstance(site.source, OriginSpec):
            try:
                origin_policy(loaded.settings, site, site.source)
            except StartupError as error:
                issue = error
        elif isinstance(site.source, BucketSpec):
            found = asyncio.run(bucket_issue(loaded.settings, site, site.source))
            issue = found if found is not None and found.is_certain else None
        if issue is not None:
            yield ConfigIssue(loaded.location(("site", number, "source")), issue.message, issue.fix)


def _shared_cache_issues(loaded: LoadedSettings) -> Iterator[ConfigIssue]:
    if loaded.settings.shared_cache and (issue := asyncio.run(shared_cache.find_issue(loaded.settings))):
        yield ConfigIssue(loaded.location(("shared_cache",)), issue.message, issue.fix)


def _port_issues(loaded: LoadedSettings) -> Iterator[ConfigIssue]:
    port = loaded.settings.admin_port
    if port and port == loaded.settings.port and socket_path(loaded.settings.host) is None:
        yield ConfigIssue(
            loaded.location(("admin_port",)), f"admin_port: {port} is also the value of port", "choose another port"
        )


def _mount_issues(loaded: LoadedSettings) -> Iterator[ConfigIssue]:
    """Issues with sites that get no requests because their prefix is an operator path.

    Two sites with the same URLs are reported earlier, when the settings are loaded.
    """
    for number, site in enumerate(loaded.settings.site):
        if is_operator_path(f"{site.prefix}/".encode()) or site.prefix in OPERATOR_PATHS:
            message = f"site.{number}.prefix: {site.prefix} is an operator path, which no site serves"
            yield ConfigIssue(loaded.location(("site", number, "prefix")), message, "choose another prefix")
