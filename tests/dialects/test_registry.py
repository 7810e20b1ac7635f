"""The registry of dialects: complete, consistent, and its samples are valid queries."""

import configparser
import pkgutil
from pathlib import Path

import pytest

from cropmark import dialects
from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.registry import DIALECTS, DialectEntry, entry, folder_entries, names
from cropmark.plan.plan import Order

SHARED = {"imageopto"}
"""Packages of readers that several dialects share."""


def test_every_dialect_folder_has_an_entry() -> None:
    folders = {module.name for module in pkgutil.iter_modules(dialects.__path__) if module.ispkg}
    assert folders - SHARED == set(names())


def test_the_import_contract_names_every_dialect() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(Path(__file__).parents[2] / ".importlinter")
    modules = contracts["importlinter:contract:dialects-apart"]["modules"].split()
    assert sorted(modules) == sorted(f"cropmark.dialects.{name}" for name in names())


def test_entries_agree_with_their_classes() -> None:
    assert [(one.name, type(one.build())) for one in DIALECTS] == [(one.cls.name, one.cls) for one in DIALECTS]


def test_entry_finds_by_name() -> None:
    assert entry("kontent").title == "Kontent.ai Image Transformation"
    with pytest.raises(KeyError):
        entry("other")


def test_folders_are_served_by_all_but_endpoint_dialects() -> None:
    assert [one.name for one in folder_entries()] == ["fastly", "contentstack", "kontent"]


def test_prefixes_are_unique_paths() -> None:
    prefixes = [mount.prefix for one in DIALECTS for mount in one.mounts]
    assert len(set(prefixes)) == len(prefixes)
    assert all(prefix.startswith("/") and not prefix.endswith("/") for prefix in prefixes)


@pytest.mark.parametrize("one", folder_entries(), ids=lambda one: one.name)
def test_samples_are_read_without_warnings(one: DialectEntry) -> None:
    for query in (one.thumbnail, *(sample.query for sample in one.samples)):
        order = one.build().order(ImageRequest("photo.jpg", query))
        assert isinstance(order, Order)
        assert order.plan is not None
        assert order.warnings == ()


@pytest.mark.parametrize("one", [one for one in DIALECTS if one.is_endpoint], ids=lambda one: one.name)
def test_samples_of_endpoints_are_read_by_each_that_renders_an_image(one: DialectEntry) -> None:
    for endpoint, fields in one.requests.items():
        assert set(fields) <= one.parameter_names
        examples = {doc.name: doc.example for doc in one.cls.params}
        example = "&".join(examples[name] for name in fields)
        for query in (example, *(sample.query for sample in one.samples if sample.query.split("=")[0] in fields)):
            order = one.build().order(ImageRequest(endpoint, query, upload="0" * 64))
            assert isinstance(order, Order), endpoint
            assert order.plan is not None
