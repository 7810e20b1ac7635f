"""The configuration: a TOML file, then environment variables CROPMARK_*, then the command line; the later wins.

pydantic-settings reads and checks (settings.py). What it lacks stands here and in mistakes.py: a hint for a mistyped
key or variable, the TOML line of a mistake, where each value came from, and masking.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ByteSize, SecretStr, TypeAdapter, ValidationError

from cropmark.config.errors import ConfigIssue, InvalidConfiguration, Steps, TomlDocument, hint
from cropmark.config.settings import PREFIX, DialectName, Settings, SiteSettings

DEFAULT_FILE = "cropmark.toml"
MASK = "********"


@dataclass(frozen=True, slots=True)
class SettingOrigin:
    """A setting's value as text, masked where secret, and where it came from."""

    name: str
    value: str
    came_from: str


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings with the file they came from, if any, and the origin of each value."""

    settings: Settings
    document: TomlDocument
    origins: tuple[SettingOrigin, ...]

    @property
    def file(self) -> Path | None:
        return self.document.file

    def place(self, path: Steps) -> str:
        """Where a setting was said: an option, a variable, or a line of the file; `default` where nowhere."""
        name = ".".join(map(str, path[:1]))
        said = next((o.came_from for o in self.origins if o.name == name), "default")
        return self.document.place(path) if said.startswith(str(self.file)) else said


def configured(
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> LoadedSettings:
    """The configuration as it holds now. Raises BadConfiguration with every mistake that was found.

    `file` None: cropmark.toml of the working folder where it is. `overrides`: what the command line says.
    """
    if file is None and Path(DEFAULT_FILE).is_file():
        file = Path(DEFAULT_FILE)
    given = _ConfigInputs(
        TomlDocument.read(file),
        {name: value for name, value in (overrides or {}).items() if value is not None},
        os.environ if environ is None else environ,
    )
    mistakes = [*_unknown_keys(given.document), *_unknown_variables(given.environ), *_site_settings(given.document)]
    try:
        known = _known_only(given.document.values)
        environ = {name: text for name, text in given.environ.items() if name.upper() in variables()}
        settings = Settings(**{**given.overrides, "toml_document": known, "environ": environ})
    except ValidationError as error:
        mistakes += _explained(error, given)
        raise InvalidConfiguration(tuple(mistakes)) from error
    mistakes += _unreachable(settings, given.document)
    if mistakes:
        raise InvalidConfiguration(tuple(mistakes))
    return LoadedSettings(settings, given.document, tuple(_origins(settings, given)))


@dataclass(frozen=True, slots=True)
class _ConfigInputs:
    """All that a configuration is made of."""

    document: TomlDocument
    overrides: Mapping[str, Any]
    environ: Mapping[str, str]

    def origin(self, path: Steps) -> str | None:
        """Where a value was said: `--port`, `CROPMARK_PORT`, or the file's line; None: nowhere."""
        if path and path[0] in self.overrides:
            return f"--{str(path[0]).replace('_', '-')}"
        said = {name.upper(): name for name, text in self.environ.items() if text}
        for end in range(len(path), 0, -1):
            variable = PREFIX + "__".join(str(part).upper() for part in path[:end])
            if variable in said:
                return said[variable]
        return self.document.place(path) if self._in_file(path) else None

    def _in_file(self, path: Steps) -> bool:
        values: Any = self.document.values
        for part in path[:2]:
            if not isinstance(values, dict) or part not in values:
                return False
            values = values[part]
            if isinstance(values, list):
                return True
        return True


# ---------------------------------------------------------------------------------------------- unknown names


def schema(kind: Any) -> dict[str, Any] | None:
    """Names and types of a settings class' fields; None for what is no such class."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: info.annotation for name, info in kind.model_fields.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        return {f.name: f.type for f in fields(kind)}
    return None


def _unknown_keys(document: TomlDocument) -> Iterator[ConfigIssue]:
    for path, names in _strangers(document.values):
        yield ConfigIssue(document.place(path), f"there is no setting {_dotted(path)!r}", hint(str(path[-1]), names))


def _dotted(path: Steps) -> str:
    return ".".join(map(str, path))


def _strangers(document: Mapping[str, Any]) -> Iterator[tuple[Steps, list[str]]]:
    """The way to every key that no setting has, and the names that would do in its place."""
    top: dict[str, Any] = schema(Settings) or {}
    for key, value in document.items():
        if key not in top:
            yield (key,), list(top)
        elif key == "site" and isinstance(value, list):
            for number, table in enumerate(value):
                yield from _strangers_of_site((key, number), table)
        elif isinstance(value, dict) and (section := schema(top[key])) is not None:
            yield from (((key, k), list(section)) for k in value if k not in section)


def _strangers_of_site(path: Steps, table: Any) -> Iterator[tuple[Steps, list[str]]]:
    if not isinstance(table, dict):
        return
    names = list(schema(SiteSettings) or {})
    yield from (((*path, key), names) for key in table if key not in names)
    section, own = _section(table), table.get("settings")
    if section is not None and isinstance(own, dict):
        known = list(schema(section) or {})
        yield from (((*path, "settings", key), known) for key in own if key not in known)


def _section(table: Mapping[str, Any]) -> Any:
    """The class of the dialect's settings of a site; None where it names no dialect of ours."""
    dialect = str(table.get("dialect"))
    return Settings.model_fields[dialect].annotation if dialect in get_args(DialectName) else None


def _known_only(value: Any, path: Steps = (), strangers: frozenset[Steps] | None = None) -> Any:
    """The document without the strangers, so that the rest is checked too."""
    if strangers is None:
        strangers = frozenset(path for path, _ in _strangers(value))
    match value:
        case dict():
            kept = {key: inner for key, inner in value.items() if (*path, key) not in strangers}
            return {key: _known_only(inner, (*path, key), strangers) for key, inner in kept.items()}
        case list():
            return [_known_only(inner, (*path, number), strangers) for number, inner in enumerate(value)]
        case _:
            return value


def variables() -> dict[str, str]:
    """Every environment variable that is read, and the setting it sets."""
    found = {}
    for name, kind in (schema(Settings) or {}).items():
        if name == "site":
            continue
        inner = schema(kind)
        if inner is None:
            found[f"{PREFIX}{name.upper()}"] = name
        else:
            found |= {f"{PREFIX}{name.upper()}__{k.upper()}": f"{name}.{k}" for k in inner}
    return found


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[ConfigIssue]:
    known = variables()
    for name in environ:
        if name.startswith(PREFIX) and name.upper() not in known:
            mend = hint(name, list(known))
            if name.upper().startswith(f"{PREFIX}SITE"):
                mend = "sites are said in the file, as [[site]] tables"
            yield ConfigIssue(f"environment {name}", "there is no such variable", mend)


# ---------------------------------------------------------------------------------------------- mistakes


def _explained(error: ValidationError, given: _ConfigInputs) -> Iterator[ConfigIssue]:
    for one in error.errors():
        path = tuple(part for part in one["loc"] if part not in ("toml_document", "[key]"))
        where = given.origin(path) or given.document.place(path)
        where = f"environment {where}" if where.upper().startswith(PREFIX) else where
        yield ConfigIssue(where, f"{_dotted(path)}: {_words(one, path)}", _mend(path))


def _words(one: Any, path: Steps) -> str:
    """What pydantic says, as a part of our sentence, and what was written; never a secret."""
    text = one["msg"].removeprefix("Value error, ")
    text = text[:1].lower() + text[1:]
    shows = one["type"] != "missing" and not isinstance(one["input"], dict) and not _is_secret(path)
    return f"{text}, got {one['input']!r}" if shows else text


def _is_secret(path: Steps) -> bool:
    kinds = {**(schema(Settings) or {}), **(schema(SiteSettings) or {})}
    return any("SecretStr" in str(kinds.get(str(part), "")) for part in path)


def _mend(path: Steps) -> str:
    """What the setting is for, where its table tells; of a site's those of the site."""
    model, names = (SiteSettings, path[2:]) if path[:1] == ("site",) and len(path) > 2 else (Settings, path)
    info = model.model_fields.get(str(names[0])) if names else None
    if info is None or not info.description or schema(info.annotation) is not None:
        return "see docs/configuration.md"
    first = info.description[:1]
    rest = info.description[1:].rstrip(".")
    return (first if rest[:1].isupper() else first.lower()) + rest


def _site_settings(document: TomlDocument) -> Iterator[ConfigIssue]:
    """What a dialect does not take of a site's own settings."""
    sites = _known_only(document.values).get("site")
    for number, table in enumerate(sites if isinstance(sites, list) else ()):
        own = table.get("settings") if isinstance(table, dict) else None
        if not isinstance(own, dict) or _section(table) is None:
            continue
        try:
            TypeAdapter(_section(table)).validate_python(own)
        except ValidationError as error:
            for one in error.errors():
                path = ("site", number, "settings", *one["loc"])
                yield ConfigIssue(
                    document.place(path), f"{_dotted(path)}: {_words(one, path)}", "see docs/configuration.md"
                )


def _unreachable(settings: Settings, document: TomlDocument) -> Iterator[ConfigIssue]:
    """Sites that an earlier one with the same host and prefix leaves nothing for."""
    first: dict[tuple[str, str], int] = {}
    for number, site in enumerate(settings.site):
        for host in site.hosts or ("",):
            before = first.setdefault((host, site.prefix), number)
            if before != number:
                at = f"{host}{site.prefix}/"
                yield ConfigIssue(
                    document.place(("site", number)),
                    f"site.{number}: no request reaches it, site.{before} is at {at} too",
                    "give one of them another host or prefix",
                )


def _origins(settings: Settings, given: _ConfigInputs) -> Iterator[SettingOrigin]:
    for path, value in iter_settings(settings):
        yield SettingOrigin(_dotted(path), format_value(value), given.origin(path) or "default")


def iter_settings(settings: Settings) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every single setting by its path, sections opened."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        inner = schema(type(value))
        if inner is None:
            yield (name,), value
        else:
            yield from (((name, k), getattr(value, k)) for k in inner)


def format_value(value: Any) -> str:
    match value:
        case SecretStr():
            return MASK
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case Enum():
            return str(value.value)
        case ByteSize():
            return value.human_readable()
        case tuple():
            return ", ".join(format_value(v) for v in value) or "-"
        case dict():
            return ", ".join(f"{name}={format_value(v)}" for name, v in value.items()) or "-"
        case SiteSettings():
            source = re.sub("//.*@", f"//{MASK}@", value.source)  # a password there is a mistake, and a secret
            return f"{value.name or ','.join(value.hosts) or value.prefix}: {value.dialect} over {source}"
        case _:
            return str(value)


__all__ = [
    "MASK",
    "PREFIX",
    "ConfigIssue",
    "InvalidConfiguration",
    "LoadedSettings",
    "SettingOrigin",
    "Settings",
    "SiteSettings",
    "configured",
    "format_value",
    "iter_settings",
    "schema",
    "variables",
]
