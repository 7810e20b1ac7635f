"""The table of all routes of the management API. The endpoint and the OpenAPI description use it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import unquote

from cropmark.management import handlers
from cropmark.management.request import Json, ManagementRequest
from cropmark.model.assets import UID
from cropmark.model.problems import MethodNotAllowed, Problem
from cropmark.model.text import clean_text
from cropmark.ports import Library


class RouteAccess(Enum):
    """The tokens that a route accepts: management tokens, or also delivery tokens."""

    READ = "read"
    """Management tokens, and delivery tokens, which see published assets only."""
    INSPECT = "look"
    """Management tokens only. The route changes nothing in the library."""
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path below /v3/, with their handler. A variable segment is a name in braces: `assets/{uid}`."""

    method: str
    path: str
    handler: Callable[[Library, ManagementRequest], Json]
    access: RouteAccess
    status: int = 200
    body: tuple[str, ...] = ()
    """The allowed formats of the request body, `json` and `multipart`; if empty, a body is ignored."""


# fmt: off
ROUTES: Final = (
    Route("GET",    "assets",                  handlers.list_assets,          RouteAccess.READ),
    Route("POST",   "assets",                  handlers.upload,          RouteAccess.WRITE, 201, ("multipart",)),
    Route("GET",    "assets/images",           handlers.list_images,          RouteAccess.READ),
    Route("GET",    "assets/videos",           handlers.list_nothing,         RouteAccess.READ),
    Route("GET",    "assets/rt",               handlers.list_nothing,         RouteAccess.READ),
    Route("POST",   "assets/folders",          handlers.new_folder,      RouteAccess.WRITE, 201, ("json",)),
    Route("GET",    "assets/folders/{uid}",    handlers.folder,          RouteAccess.INSPECT),
    Route("PUT",    "assets/folders/{uid}",    handlers.update_folder,   RouteAccess.WRITE, body=("json",)),
    Route("DELETE", "assets/folders/{uid}",    handlers.delete_folder,   RouteAccess.WRITE),
    Route("GET",    "assets/{uid}",            handlers.asset,             RouteAccess.READ),
    Route("PUT",    "assets/{uid}",            handlers.update,          RouteAccess.WRITE, body=("json", "multipart")),
    Route("DELETE", "assets/{uid}",            handlers.delete,          RouteAccess.WRITE),
    Route("POST",   "assets/{uid}/publish",    handlers.publish,         RouteAccess.WRITE, body=("json",)),
    Route("POST",   "assets/{uid}/unpublish",  handlers.unpublish,       RouteAccess.WRITE, body=("json",)),
    Route("GET",    "assets/{uid}/versions",   handlers.list_versions,        RouteAccess.INSPECT),
    Route("POST",   "assets/{uid}/versions/{version}/name", handlers.name_version,   RouteAccess.WRITE, 201, ("json",)),
    Route("DELETE", "assets/{uid}/versions/{version}/name", handlers.unname_version, RouteAccess.WRITE),
    Route("GET",    "assets/{uid}/references", handlers.list_references,      RouteAccess.INSPECT),
    Route("GET",    "environments",            handlers.list_environments,    RouteAccess.INSPECT),
    Route("POST",   "environments",            handlers.new_environment, RouteAccess.WRITE, 201, ("json",)),
    Route("GET",    "environments/{name}",     handlers.environment,     RouteAccess.INSPECT),
)
# fmt: on


class UnknownRoute(Problem):
    """The path of a request is not a path of the management API."""

    status, code = 404, "unknown_route"


class WrongMethod(MethodNotAllowed):
    """The path of a request has routes, but not for the request's method."""

    def __init__(self, method: str, allowed: list[str]) -> None:
        super().__init__(f"{method[:20]} is not supported here", fix=f"send one of {', '.join(allowed)}")
        self.allowed = allowed


def find_route(method: str, path: str) -> tuple[Route, Mapping[str, str]]:
    """The route for a method and a path below /v3/, and the values of the path's variable segments by name.

    Raises WrongMethod, UnknownRoute.
    """
    wanted = "GET" if method == "HEAD" else method
    segments = path.rstrip("/").split("/")
    allowed = []
    for route in ROUTES:
        values = _path_values(route.path.split("/"), segments)
        if values is None:
            continue
        if route.method == wanted:
            return route, values
        allowed.append(route.method)
    if not allowed:
        raise UnknownRoute("the management API has no such path", fix="see docs/openapi-management.json")
    raise WrongMethod(method, allowed)


def _path_values(template: list[str], segments: list[str]) -> dict[str, str] | None:
    """The values of a path's variable segments, by their names in the template; None if the path does not match."""
    if len(template) != len(segments):
        return None
    values = {}
    for expected, segment in zip(template, segments, strict=True):
        if expected.startswith("{"):
            values[expected.strip("{}")] = clean_text(unquote(segment, errors="replace"))
        elif expected != segment:
            return None
    return values


def _pattern(path: str) -> str:
    return re.sub(r"\\\{\w+\\\}", r"[^/]+", re.escape(path))


_ASSET_URL: Final = rf"assets/{UID.pattern}/{UID.pattern}/?\Z"
PATHS: Final = re.compile(rf"(?!{_ASSET_URL})(?:{'|'.join(_pattern(route.path) for route in ROUTES)})/?\Z")
"""Matches all paths of the API, without /v3/, except the path of the URL that delivers an asset."""
