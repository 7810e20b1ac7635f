"""The names of settings in the file and in the environment, and errors for unknown names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel

from cropmark.config.errors import ConfigIssue, KeyPath, TomlDocument, hint
from cropmark.config.renamed import ALIASES, RENAMED, current_name
from cropmark.config.settings import PREFIX, Settings
from cropmark.config.site import SiteSettings
from cropmark.dialects import registry


def field_types(kind: Any) -> dict[str, Any] | None:
    """The types of the fields of a settings class, by name; None if `kind` is not a settings class."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: info.annotation for name, info in kind.model_fields.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        return {f.name: f.type for f in fields(kind)}
    return None


def environment_variables() -> dict[str, str]:
    """The dotted names of the settings, by the environment variable that sets them."""
    found: dict[str, str] = {}
    for name, kind in (field_types(Settings) or {}).items():
        section = field_types(kind)
        if section is not None:
            found |= {f"{PREFIX}{name.upper()}__{key.upper()}": f"{name}.{key}" for key in section}
        elif name != "site":
            found[f"{PREFIX}{name.upper()}"] = name
    return found | {f"{PREFIX}{alias.upper()}": name for alias, name in ALIASES.items()}


def dotted(path: KeyPath) -> str:
    """The path of a setting as text, such as `site.0.prefix`."""
    return ".".join(map(str, path))


def unknown_keys(document: TomlDocument) -> Iterator[ConfigIssue]:
    """An error for each key of the file that is not a setting. It suggests the name to write instead."""
    for path, table, names in _unknown_paths(document.values):
        renamed = current_name(f"{table}.{path[-1]}" if table else str(path[-1]))
        yield ConfigIssue(
            document.location(path),
            f"unknown setting {dotted(path)!r}",
            f"it has been renamed: write {renamed}" if renamed else hint(str(path[-1]), names),
        )
    for alias, name in ALIASES.items():
        if alias in document.values and name in document.values:
            message = f"{alias} is an alias of {name}, which is also set"
            yield ConfigIssue(document.location((alias,)), message, f"remove {alias}")


def unknown_variables(environ: Mapping[str, str]) -> Iterator[ConfigIssue]:
    """An error for each variable `CROPMARK_…` that is not a setting. It suggests the name to write instead."""
    known = environment_variables()
    renamed = {
        f"{PREFIX}{old.upper().replace('.', '__')}": new.upper().replace(".", "__") for old, new in RENAMED.items()
    }
    for name in environ:
        upper = name.upper()
        if not name.startswith(PREFIX) or upper in known:
            continue
        if upper.startswith(f"{PREFIX}SITE"):
            fix = "sites are configured in the file, as [[site]] tables"
        elif upper in renamed:
            fix = f"it has been renamed: write {PREFIX}{renamed[upper]}"
        else:
            fix = hint(name, list(known))
        yield ConfigIssue(f"environment {name}", "unknown variable", fix)


def known_values(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document without its unknown keys. The other keys can then be checked too."""
    unknown = frozenset(path for path, _, _ in _unknown_paths(document))
    known: dict[str, Any] = _without(document, unknown, ())
    return known


def section_class(site_table: Mapping[str, Any]) -> Any:
    """The settings class of a site's dialect; None if the site's table does not name a known dialect."""
    return next((d.settings_cls for d in registry.DIALECTS if d.name == site_table.get("dialect")), None)


def _without(value: Any, unknown: frozenset[KeyPath], path: KeyPath) -> Any:
    match value:
        case dict():
            return {k: _without(inner, unknown, (*path, k)) for k, inner in value.items() if (*path, k) not in unknown}
        case list():
            return [_without(inner, unknown, (*path, number)) for number, inner in enumerate(value)]
        case _:
            return value


def _unknown_paths(document: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str, list[str]]]:
    """Yields the path of each key of the file that is not a setting, with facts for a suggestion.

    These are the name of the key's table, as in RENAMED, and the names of the settings in this table.
    """
    top: dict[str, Any] = field_types(Settings) or {}
    for key, value in document.items():
        if key in ALIASES:
            continue
        if key not in top:
            yield (key,), "", list(top)
        elif key == "site" and isinstance(value, list):
            for number, table in enumerate(value):
                yield from _unknown_in_site((key, number), table)
        elif isinstance(value, dict) and (section := field_types(top[key])) is not None:
            yield from (((key, k), key, list(section)) for k in value if k not in section)


def _unknown_in_site(path: KeyPath, table: Any) -> Iterator[tuple[KeyPath, str, list[str]]]:
    if not isinstance(table, dict):
        return
    names = list(field_types(SiteSettings) or {})
    yield from (((*path, key), "site", names) for key in table if key not in names)
    section, own = field_types(section_class(table)), table.get("settings")
    if section is not None and isinstance(own, dict):
        dialect = str(table["dialect"])
        yield from (((*path, "settings", key), dialect, list(section)) for key in own if key not in section)
