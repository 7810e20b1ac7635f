"""Checks of valid settings against this machine: folders that do not exist, rules that cannot be parsed."""

from __future__ import annotations

from collections.abc import Iterator

from cropmark.config.errors import ConfigIssue, InvalidConfiguration
from cropmark.config.loader import LoadedSettings
from cropmark.config.production import errors
from cropmark.config.source_spec import FolderSpec
from cropmark.server import library
from cropmark.server.policies import client_ip, listen_addresses, rate_limiter, untrusted_policy
from cropmark.web.routing import OPERATOR_PATHS, is_operator_path


def find_issues(loaded: LoadedSettings) -> Iterator[ConfigIssue]:
    """Every issue that prevents a start or a site from working, with its line and its fix."""
    yield from _policy_issues(loaded)
    yield from _folder_issues(loaded)
    yield from _mount_issues(loaded)
    for name, error in library.invalid_settings(loaded.settings):
        message = f"{name}: {error.what.removeprefix(f'{name}: ')}"
        yield ConfigIssue(loaded.location((name,)), message, error.fix)
    for issue in errors(loaded.settings):
        yield _located(loaded, issue)


def _located(loaded: LoadedSettings, issue: ConfigIssue) -> ConfigIssue:
    """The issue at the line of its setting; if that is not set, at the line of `production`, which requires it."""
    locations = [loaded.location((name,)) for name in (issue.location, "production")]
    location = next((one for one in locations if one != "default"), "default")
    return ConfigIssue(location, f"{issue.location}: {issue.message}", issue.fix)


def _policy_issues(loaded: LoadedSettings) -> Iterator[ConfigIssue]:
    """Issues with addresses, networks, host rules and the URL of Redis."""
    for parse in (listen_addresses, client_ip, untrusted_policy, rate_limiter):
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
            fix = "name a folder, the origin's https:// URL, or library"
            yield ConfigIssue(loaded.location(("site", number, "source")), message, fix)


def _mount_issues(loaded: LoadedSettings) -> Iterator[ConfigIssue]:
    """Sites below an operator path: no request reaches them. Sites that hide each other fail when settings load."""
    for number, site in enumerate(loaded.settings.site):
        if is_operator_path(f"{site.prefix}/".encode()) or site.prefix in OPERATOR_PATHS:
            message = f"site.{number}.prefix: {site.prefix} is an operator path, which no site serves"
            yield ConfigIssue(loaded.location(("site", number, "prefix")), message, "choose another prefix")
