"""The calls, as one table: what is served, and what is described, comes from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cropmark.management import handlers
from cropmark.management.request import Json, ManagementRequest
from cropmark.ports import Library


class RouteAccess(Enum):
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
    handler: Callable[[Library, ManagementRequest], Json]
    access: RouteAccess
    status: int = 200
    body: tuple[str, ...] = ()
    """Of `json` and `multipart`."""


# fmt: off
ROUTES: Final = (
    Route("GET",    "assets",                  handlers.listed,          RouteAccess.READ),
    Route("POST",   "assets",                  handlers.upload,          RouteAccess.WRITE, 201, ("multipart",)),
    Route("GET",    "assets/images",           handlers.images,          RouteAccess.READ),
    Route("GET",    "assets/videos",           handlers.nothing,         RouteAccess.READ),
    Route("GET",    "assets/rt",               handlers.nothing,         RouteAccess.READ),
    Route("POST",   "assets/folders",          handlers.new_folder,      RouteAccess.WRITE, 201, ("json",)),
    Route("GET",    "assets/folders/{uid}",    handlers.folder,          RouteAccess.LOOK),
    Route("PUT",    "assets/folders/{uid}",    handlers.update_folder,   RouteAccess.WRITE, body=("json",)),
    Route("DELETE", "assets/folders/{uid}",    handlers.delete_folder,   RouteAccess.WRITE),
    Route("GET",    "assets/{uid}",            handlers.one,             RouteAccess.READ),
    Route("PUT",    "assets/{uid}",            handlers.update,          RouteAccess.WRITE, body=("json", "multipart")),
    Route("DELETE", "assets/{uid}",            handlers.delete,          RouteAccess.WRITE),
    Route("POST",   "assets/{uid}/publish",    handlers.publish,         RouteAccess.WRITE, body=("json",)),
    Route("POST",   "assets/{uid}/unpublish",  handlers.unpublish,       RouteAccess.WRITE, body=("json",)),
    Route("GET",    "assets/{uid}/versions",   handlers.versions,        RouteAccess.LOOK),
    Route("POST",   "assets/{uid}/versions/{version}/name", handlers.name_version,   RouteAccess.WRITE, 201, ("json",)),
    Route("DELETE", "assets/{uid}/versions/{version}/name", handlers.unname_version, RouteAccess.WRITE),
    Route("GET",    "assets/{uid}/references", handlers.references,      RouteAccess.LOOK),
    Route("GET",    "environments",            handlers.environments,    RouteAccess.LOOK),
    Route("POST",   "environments",            handlers.new_environment, RouteAccess.WRITE, 201, ("json",)),
    Route("GET",    "environments/{name}",     handlers.environment,     RouteAccess.LOOK),
)
# fmt: on
