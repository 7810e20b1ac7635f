"""The playground: its page, and the data from which its script builds the controls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cropmark.dialects import registry
from cropmark.web.pages.controls import FINDING, SELECTIONS, WIDTHS, dialect_controls, request_controls
from cropmark.web.pages.layout import document, static_text
from cropmark.web.site import Site

if TYPE_CHECKING:
    from cropmark.web.admin_context import ImageList, ListedImage


def data(sites: Iterable[tuple[Site, ImageList | None]], endpoints: Iterable[Site]) -> dict[str, Any]:
    """The data for the playground's script, as JSON values.

    Contains the `sites` with their controls and images, then the sites `endpoints` with the controls of their requests.
    """
    order = registry.names()
    # A folder first: the library's default sites have the prefixes of the folder's.
    shown = sorted(sites, key=lambda each: (order.index(each[0].dialect.name), each[0].mount.paths is not None))
    return {"sites": [*(_site(site, listed) for site, listed in shown), *map(_endpoints, endpoints)]}


def _site(site: Site, listed: ImageList | None) -> dict[str, Any]:
    entry = registry.entry(site.dialect.name)
    controls = dialect_controls(entry)
    return {
        **_shared(site, entry),
        "paths": site.mount.paths.pattern if site.mount.paths else None,
        "thumbnail": entry.thumbnail,
        "controls": controls,
        "finding": FINDING.get(entry.name, ()),
        "width": next((each["name"] for each in controls if each["name"] in WIDTHS), None),
        "images": [_image(each) for each in listed.images] if listed else [],
        "total": listed.total if listed else 0,
        "place": listed.place if listed else "",
    }


def _endpoints(site: Site) -> dict[str, Any]:
    """The data of a site with endpoints. Their requests name an image in a parameter, or contain it in the body."""
    entry = registry.entry(site.dialect.name)
    return {**_shared(site, entry), "requests": request_controls(entry), "width": None, "images": []}


def _shared(site: Site, entry: registry.DialectEntry) -> dict[str, Any]:
    return {
        "name": site.name,
        "dialect": entry.name,
        "title": entry.title,
        "prefix": site.prefix,
        "samples": [{"label": sample.label, "query": sample.query} for sample in entry.samples],
        "selections": SELECTIONS.get(entry.name, {}),
    }


def _image(listed: ListedImage) -> dict[str, Any]:
    return {"path": listed.path, "name": listed.name, "query": dict(listed.query)}


def page() -> str:
    """The page as HTML."""
    body = static_text("playground.html")
    return document("cropmark playground", body, styles=("playground.css",), scripts=("playground.js",))
