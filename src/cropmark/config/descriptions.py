"""Describes the settings, for docs/configuration.md and `cropmark config explain`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Any, get_args, get_origin

from cropmark.config.formatting import format_value
from cropmark.config.names import environment_variables, field_types
from cropmark.config.settings import Settings
from cropmark.config.site import SiteSettings


@dataclass(frozen=True, slots=True)
class SettingDescription:
    """The description of one setting.

    `name` is dotted: `fastly.upscale` is in a dialect's section, `site.prefix` in a `[[site]]` table.
    """

    name: str
    description: str
    type: str
    default: str
    """The default as text; `-` if the setting has no default."""
    variable: str | None
    """The environment variable that sets the setting; None if only the file can set it."""


class MissingDocstring(Exception):
    """Raised for a field of a settings class that has no docstring and so cannot be described."""


def setting_names() -> tuple[str, ...]:
    """The dotted names of all settings."""
    names: list[str] = []
    for name, kind in (field_types(Settings) or {}).items():
        section = field_types(kind)
        names += [name] if section is None else [f"{name}.{key}" for key in section]
    return (*names, *(f"site.{name}" for name in SiteSettings.model_fields))


def describe(name: str) -> SettingDescription | None:
    """The description of the setting with this dotted name; None for an unknown name."""
    first, _, key = name.partition(".")
    variable = {setting: variable for variable, setting in reversed(environment_variables().items())}.get(name)
    if first == "site" and key:
        return _of_model(name, SiteSettings.model_fields.get(key), None)
    info = Settings.model_fields.get(first)
    if info is None or not key:
        is_section = info is not None and field_types(info.annotation) is not None
        return None if is_section else _of_model(name, info, variable)
    section = type(info.default)
    field = (
        next((one for one in dataclasses.fields(section) if one.name == key), None) if _is_section(section) else None
    )
    if field is None:
        return None
    value = getattr(info.default, key)
    words = " | ".join(str(one.value) for one in type(value)) if isinstance(value, Enum) else str(field.type)
    return SettingDescription(name, field_docstrings(section)[key], words, format_value(value), variable)


def _is_section(kind: type) -> bool:
    return field_types(kind) is not None and dataclasses.is_dataclass(kind)


def _of_model(name: str, info: Any, variable: str | None) -> SettingDescription | None:
    """The description of a field of a pydantic model."""
    if info is None:
        return None
    default = "required" if info.is_required() else format_value(info.get_default(call_default_factory=True))
    return SettingDescription(name, info.description or "", _type_text(info.annotation), default, variable)


def _type_text(annotation: Any) -> str:
    """The text for a type: `int`, `str | None`, or the permitted words of a Literal."""
    members = get_args(annotation)
    if members and all(isinstance(one, str) for one in members):
        return " | ".join(members)
    if get_origin(annotation) is tuple:
        return f"list of {_type_text(members[0])}"
    if isinstance(annotation, type):
        return annotation.__name__
    return " | ".join(_type_text(one) for one in members).replace("NoneType", "none") or str(annotation)


def field_docstrings(section: type) -> dict[str, str]:
    """The docstrings below the fields of a settings class, by field. Raises MissingDocstring if a field has none."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(section))).body[0]
    assert isinstance(tree, ast.ClassDef)
    docstrings = {
        field.target.id: " ".join(str(text.value.value).split())
        for field, text in pairwise(tree.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }
    for f in dataclasses.fields(section):
        if f.name not in docstrings:
            raise MissingDocstring(
                f"{section.__module__}.{section.__qualname__}.{f.name} has no docstring; write one on the line below "
                "the field: it becomes the setting's description in docs/configuration.md"
            )
    return docstrings
