"""The calls, as one table: what is served, and what is described, comes from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cropmark.management import acts
from cropmark.management.calls import Call, Json
from cropmark.ports import Library


class Access(Enum):
    """Who may make a call."""

    READ = "read"
    """Whoever manages, and readers of what is published."""
    LOOK = "look"
    """Whoever manages; nothing is changed."""
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Route:
    """A call: its path below /v3/, names in braces; what it does; what its body may be."""

    method: str
    path: str
    act: Callable[[Library, Call], Json]
    access: Access
    status: int = 200
    body: tuple[str, ...] = ()
    """Of `json` and `multipart`."""


# fmt: off
ROUTES: Final = (
    Route("GET",    "assets",                  acts.listed,          Access.READ),
    Route("POST",   "assets",                  acts.upload,          Access.WRITE, 201, ("multipart",)),
    Route("GET",    "assets/images",           acts.images,          Access.READ),
    Route("GET",    "assets/videos",           acts.nothing,         Access.READ),
    Route("GET",    "assets/rt",               acts.nothing,         Access.READ),
    Route("POST",   "assets/folders",          acts.new_folder,      Access.WRITE, 201, ("json",)),
    Route("GET",    "assets/folders/{uid}",    acts.folder,          Access.LOOK),
    Route("PUT",    "assets/folders/{uid}",    acts.update_folder,   Access.WRITE, body=("json",)),
    Route("DELETE", "assets/folders/{uid}",    acts.delete_folder,   Access.WRITE),
    Route("GET",    "assets/{uid}",            acts.one,             Access.READ),
    Route("PUT",    "assets/{uid}",            acts.update,          Access.WRITE, body=("json", "multipart")),
    Route("DELETE", "assets/{uid}",            acts.delete,          Access.WRITE),
    Route("POST",   "assets/{uid}/publish",    acts.publish,         Access.WRITE, body=("json",)),
    Route("POST",   "assets/{uid}/unpublish",  acts.unpublish,       Access.WRITE, body=("json",)),
    Route("GET",    "assets/{uid}/versions",   acts.versions,        Access.LOOK),
    Route("POST",   "assets/{uid}/versions/{version}/name", acts.name_version,   Access.WRITE, 201, ("json",)),
    Route("DELETE", "assets/{uid}/versions/{version}/name", acts.unname_version, Access.WRITE),
    Route("GET",    "assets/{uid}/references", acts.references,      Access.LOOK),
    Route("GET",    "environments",            acts.environments,    Access.LOOK),
    Route("POST",   "environments",            acts.new_environment, Access.WRITE, 201, ("json",)),
    Route("GET",    "environments/{name}",     acts.environment,     Access.LOOK),
)
# fmt: on
