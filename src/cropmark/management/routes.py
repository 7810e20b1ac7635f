"""The calls, as one table: what is served, and what is described, comes from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cropmark.management import handlers
from cropmark.management.request import Call, Json
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
    Route("GET",    "assets",                  handlers.listed,          Access.READ),
    Route("POST",   "assets",                  handlers.upload,          Access.WRITE, 201, ("multipart",)),
    Route("GET",    "assets/images",           handlers.images,          Access.READ),
    Route("GET",    "assets/videos",           handlers.nothing,         Access.READ),
    Route("GET",    "assets/rt",               handlers.nothing,         Access.READ),
    Route("POST",   "assets/folders",          handlers.new_folder,      Access.WRITE, 201, ("json",)),
    Route("GET",    "assets/folders/{uid}",    handlers.folder,          Access.LOOK),
    Route("PUT",    "assets/folders/{uid}",    handlers.update_folder,   Access.WRITE, body=("json",)),
    Route("DELETE", "assets/folders/{uid}",    handlers.delete_folder,   Access.WRITE),
    Route("GET",    "assets/{uid}",            handlers.one,             Access.READ),
    Route("PUT",    "assets/{uid}",            handlers.update,          Access.WRITE, body=("json", "multipart")),
    Route("DELETE", "assets/{uid}",            handlers.delete,          Access.WRITE),
    Route("POST",   "assets/{uid}/publish",    handlers.publish,         Access.WRITE, body=("json",)),
    Route("POST",   "assets/{uid}/unpublish",  handlers.unpublish,       Access.WRITE, body=("json",)),
    Route("GET",    "assets/{uid}/versions",   handlers.versions,        Access.LOOK),
    Route("POST",   "assets/{uid}/versions/{version}/name", handlers.name_version,   Access.WRITE, 201, ("json",)),
    Route("DELETE", "assets/{uid}/versions/{version}/name", handlers.unname_version, Access.WRITE),
    Route("GET",    "assets/{uid}/references", handlers.references,      Access.LOOK),
    Route("GET",    "environments",            handlers.environments,    Access.LOOK),
    Route("POST",   "environments",            handlers.new_environment, Access.WRITE, 201, ("json",)),
    Route("GET",    "environments/{name}",     handlers.environment,     Access.LOOK),
)
# fmt: on
