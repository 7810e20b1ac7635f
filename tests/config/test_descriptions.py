"""Descriptions of settings: every setting has one, by its dotted name."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from cropmark.config.descriptions import MissingDocstring, describe, field_docstrings, setting_names


@dataclass
class Described:
    first: int = 1
    """The first
    number."""
    second: str = "a"
    """The second text."""


@dataclass
class Undescribed:
    first: int = 1
    """The first number."""
    second: str = "a"


def test_fields_are_described_by_the_docstrings_below_them() -> None:
    assert field_docstrings(Described) == {"first": "The first number.", "second": "The second text."}


def test_a_field_without_docstring_is_named() -> None:
    with pytest.raises(MissingDocstring, match=r"Undescribed\.second has no docstring; write one"):
        field_docstrings(Undescribed)


@pytest.mark.parametrize("name", setting_names())
def test_every_setting_is_described(name: str) -> None:
    found = describe(name)
    assert found is not None
    assert found.name == name
    assert len(found.description) > 10
    assert found.type


# fmt: off
DESCRIBED = [
    # setting          type              default     variable
    ("max_age_s",       "int",            "3600",     "CROPMARK_MAX_AGE_S"),
    ("renderers",       "int | none",     "-",        "CROPMARK_RENDERERS"),
    ("fastly.rounding", "nearest | down", "nearest",  "CROPMARK_FASTLY__ROUNDING"),
    ("site",            "list of SiteSettings", "-",  None),
    ("site.dialect",    None,             "required", None),
]
# fmt: on


@pytest.mark.parametrize(("name", "kind", "default", "variable"), DESCRIBED)
def test_type_default_and_variable(name: str, kind: str | None, default: str, variable: str | None) -> None:
    found = describe(name)
    assert found is not None
    assert kind in (None, found.type)
    assert (found.default, found.variable) == (default, variable)


@pytest.mark.parametrize("name", ["", "max_age", "fastly", "fastly.", "site.nothing", "max_age_s.x", "fastly.x"])
def test_other_names_have_no_description(name: str) -> None:
    assert describe(name) is None
