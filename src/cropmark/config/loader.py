"""Loads the configuration from a TOML file, environment variables CROPMARK_* and the command line.

The command line overrides the variables, which override the file. pydantic-settings parses and validates. This module
adds the TOML line of each error and the origin of each value. names.py adds a suggestion for an unknown name, and
formatting.py masks secrets.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cropmark.config.errors import ConfigIssue, InvalidConfiguration, KeyPath, TomlDocument
from cropmark.config.formatting import MASK, format_value, iter_settings
from cropmark.config.names import (
    dotted,
    environment_variables,
    field_types,
    known_values,
    section_class,
    unknown_keys,
    unknown_variables,
)
from cropmark.config.renamed import spellings
from cropmark.config.settings import PREFIX, Settings
from cropmark.config.site import SiteSettings

DEFAULT_FILE = "cropmark.toml"
_MAY_HOLD_SECRETS = frozenset({"source", "origin_headers", "bucket_options"})
"""Settings of a site with values that are not printed, because they may contain secrets."""


@dataclass(frozen=True, slots=True)
class SettingOrigin:
    """The value and origin of a setting, as text.

    A secret value is masked. The origin is an option, an environment variable, or a line of the file.
    """

    name: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """The settings, the configuration file (if any), and the origin of each setting."""

    settings: Settings
    document: TomlDocument
    origins: tuple[SettingOrigin, ...]

    @property
    def file(self) -> Path | None:
        return self.document.file

    def location(self, path: KeyPath) -> str:
        """The option, variable or line of the file that set a setting; `default` if it was not set."""
        name = ".".join(map(str, path[:1]))
        origin = next((one.origin for one in self.origins if one.name == name), "default")
        in_file = origin.startswith(str(self.file))
        return self.document.location(path) if in_file and len(path) > 1 else origin


def load_settings(
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> LoadedSettings:
    """Load the configuration. Raises InvalidConfiguration with every error that was found.

    Without `file`, reads cropmark.toml in the working folder if it exists. `overrides` has the values of the command
    line.
    """
    if file is None and Path(DEFAULT_FILE).is_file():
        file = Path(DEFAULT_FILE)
    inputs = _ConfigInputs(
        TomlDocument.read(file),
        {name: value for name, value in (overrides or {}).items() if value is not None},
        os.environ if environ is None else environ,
    )
    issues = [
        *unknown_keys(inputs.document),
        *unknown_variables(inputs.environ),
        *_site_section_issues(inputs.document),
    ]
    try:
        known = {name: text for name, text in inputs.environ.items() if name.upper() in environment_variables()}
        document = known_values(inputs.document.values)
        settings = Settings(**{**inputs.overrides, "toml_document": document, "environ": known})
    except ValidationError as error:
        issues += _validation_issues(error, inputs)
        raise InvalidConfiguration(tuple(issues)) from error
    issues += _unreachable_sites(settings, inputs.document)
    if issues:
        raise InvalidConfiguration(tuple(issues))
    return LoadedSettings(settings, inputs.document, tuple(_origins(settings, inputs)))


@dataclass(frozen=True, slots=True)
class _ConfigInputs:
    """The inputs of a configuration: the file, the options of the command line, and the environment."""

    document: TomlDocument
    overrides: Mapping[str, Any]
    environ: Mapping[str, str]

    def origin(self, path: KeyPath) -> str | None:
        """The input that set a value: `--port`, `CROPMARK_PORT`, or a line of the file; None if it was not set."""
        if path and path[0] in self.overrides:
            return f"--{str(path[0]).replace('_', '-')}"
        paths = [(spelling, *path[1:]) for spelling in spellings(str(path[0]))] if path else []
        given = {name.upper(): name for name, text in self.environ.items() if text}
        for spelled in paths:
            for end in range(len(spelled), 0, -1):
                variable = PREFIX + "__".join(str(part).upper() for part in spelled[:end])
                if variable in given:
                    return given[variable]
        return next((self.document.location(spelled) for spelled in paths if self._in_file(spelled)), None)

    def _in_file(self, path: KeyPath) -> bool:
        values: Any = self.document.values
        for part in path[:2]:
            if not isinstance(values, dict) or part not in values:
                return False
            values = values[part]
            if isinstance(values, list):
                return True
        return True


def _origins(settings: Settings, inputs: _ConfigInputs) -> Iterator[SettingOrigin]:
    for path, value in iter_settings(settings):
        yield SettingOrigin(dotted(path), format_value(value), inputs.origin(path) or "default")


# ---------------------------------------------------------------------------------------------- issues


def _validation_issues(error: ValidationError, inputs: _ConfigInputs) -> Iterator[ConfigIssue]:
    for one in error.errors():
        path = tuple(part for part in one["loc"] if part not in ("toml_document", "[key]"))
        location = inputs.origin(path) or inputs.document.location(path)
        location = f"environment {location}" if location.upper().startswith(PREFIX) else location
        yield ConfigIssue(location, f"{dotted(path)}: {_reason(one, path)}", _description(path))


def _reason(error: Any, path: KeyPath) -> str:
    """pydantic's message as a part of a sentence, with the rejected value unless the value is secret."""
    text = error["msg"].removeprefix("Value error, ")
    text = text[:1].lower() + text[1:]
    shows_input = error["type"] != "missing" and not isinstance(error["input"], dict) and not _is_secret(path)
    return f"{text}, got {error['input']!r}" if shows_input else text


def _is_secret(path: KeyPath) -> bool:
    """True for a secret setting, and for a site's setting that may contain a secret, such as a URL with a password."""
    types = {**(field_types(Settings) or {}), **(field_types(SiteSettings) or {})}
    if not _MAY_HOLD_SECRETS.isdisjoint(path[2:3]):
        return True
    return any("SecretStr" in str(types.get(str(part), "")) for part in path)


def _description(path: KeyPath) -> str:
    """The description of the setting at this path, to be used within a sentence."""
    model, names = (SiteSettings, path[2:]) if path[:1] == ("site",) and len(path) > 2 else (Settings, path)
    info = model.model_fields.get(str(names[0])) if names else None
    if info is None or not info.description or field_types(info.annotation) is not None:
        return "see docs/configuration.md"
    first = info.description[:1]
    rest = info.description[1:].rstrip(".")
    return (first if rest[:1].isupper() else first.lower()) + rest


def _site_section_issues(document: TomlDocument) -> Iterator[ConfigIssue]:
    """Errors in the dialect's settings in `[[site]]` tables."""
    sites = known_values(document.values).get("site")
    for number, table in enumerate(sites if isinstance(sites, list) else ()):
        own = table.get("settings") if isinstance(table, dict) else None
        if not isinstance(own, dict) or section_class(table) is None:
            continue
        try:
            TypeAdapter(section_class(table)).validate_python(own)
        except ValidationError as error:
            for one in error.errors():
                path = ("site", number, "settings", *one["loc"])
                message = f"{dotted(path)}: {_reason(one, path)}"
                yield ConfigIssue(document.location(path), message, "see docs/configuration.md")


def _unreachable_sites(settings: Settings, document: TomlDocument) -> Iterator[ConfigIssue]:
    """An error for each site that gets no request, because an earlier site has the same host and prefix."""
    first: dict[tuple[str, str], int] = {}
    for number, site in enumerate(settings.site):
        for host in site.hosts or ("",):
            earlier = first.setdefault((host, site.prefix), number)
            if earlier != number:
                url = f"{host}{site.prefix}/"
                yield ConfigIssue(
                    document.location(("site", number)),
                    f"site.{number}: it gets no request, because site.{earlier} also serves {url}",
                    "give one of them another host or prefix",
                )


__all__ = [
    "MASK",
    "PREFIX",
    "ConfigIssue",
    "InvalidConfiguration",
    "LoadedSettings",
    "SettingOrigin",
    "Settings",
    "SiteSettings",
    "environment_variables",
    "field_types",
    "format_value",
    "iter_settings",
    "load_settings",
]
