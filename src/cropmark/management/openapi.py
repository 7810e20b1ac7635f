"""The OpenAPI description of the management API, generated from its route table."""

from __future__ import annotations

import re
from typing import Any, Final

from cropmark.management.parse_query import MAX_PAGE_ASSETS
from cropmark.management.request import Json
from cropmark.management.routes import ROUTES, Route, RouteAccess
from cropmark.model.assets import MAX_NAME_CHARS, UID

_TEXT: Final[Json] = {"type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARS}
_FLAG: Final[Json] = {"type": "string", "enum": ["true", "false"]}
_NAMES: Final[Json] = {"type": "array", "minItems": 1, "maxItems": 100, "items": {"type": "string", "minLength": 1}}

_PUBLISHING: Final[Json] = {
    "type": "object",
    "required": ["asset"],
    "properties": {
        "asset": {
            "type": "object",
            "required": ["environments", "locales"],
            "properties": {"environments": _NAMES, "locales": _NAMES},
        },
        "version": {"type": "integer", "minimum": 1},
        "scheduled_at": {"type": "string", "format": "date-time"},
    },
}
_NAMED: Final[Json] = {
    "type": "object",
    "required": ["asset"],
    "properties": {"asset": {"type": "object", "properties": {"name": _TEXT, "parent_uid": {"type": "string"}}}},
}
_UPDATE: Final[Json] = {
    "type": "object",
    "anyOf": [{"required": ["asset"]}, {"required": ["version"]}],
    "properties": {
        "asset": {
            "type": "object",
            "properties": {
                "title": _TEXT,
                "description": {"type": "string"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "parent_uid": {"type": "string"},
                "permanent_url": {"type": "string"},
            },
        },
        "version": {"type": "integer", "minimum": 1},
    },
}
_ENVIRONMENT: Final[Json] = {
    "type": "object",
    "required": ["environment"],
    "properties": {"environment": {"type": "object", "required": ["name"], "properties": {"name": _TEXT}}},
}
_VERSION_NAME: Final[Json] = {
    "type": "object",
    "required": ["asset"],
    "properties": {
        "asset": {"type": "object", "required": ["_version_name"], "properties": {"_version_name": _TEXT}},
    },
}
_FORM: Final[Json] = {
    "type": "object",
    "required": ["asset[upload]"],
    "properties": {
        "asset[upload]": {"type": "string", "format": "binary"},
        **{f"asset[{name}]": {"type": "string"} for name in ("title", "description", "tags", "parent_uid")},
    },
}
_BODIES: Final = {
    "publish": _PUBLISHING,
    "unpublish": _PUBLISHING,
    "new_folder": _NAMED,
    "update_folder": _NAMED,
    "update": _UPDATE,
    "name_version": _VERSION_NAME,
    "new_environment": _ENVIRONMENT,
}

_LIST: Final[dict[str, Json]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_ASSETS},
    "skip": {"type": "integer", "minimum": 0, "maximum": 10_000},
    "include_count": _FLAG,
    "query": {"type": "string"},
    "folder": {"type": "string"},
    "include_folders": _FLAG,
    "asc": {"type": "string", "enum": ["created_at", "updated_at", "title", "uid"]},
    "desc": {"type": "string", "enum": ["created_at", "updated_at", "title", "uid"]},
}
_SHOWN: Final[dict[str, Json]] = {
    "environment": {"type": "string"},
    "include_publish_details": _FLAG,
    "include_dimension": _FLAG,
    "include_branch": _FLAG,
    "relative_urls": _FLAG,
}
_QUERIES: Final[dict[str, dict[str, Json]]] = {
    "list_assets": _LIST | _SHOWN,
    "list_images": _LIST | _SHOWN,
    "asset": _SHOWN | {"version": {"type": "integer", "minimum": 1}},
    "list_versions": {"named": _FLAG},
    "upload": {"include_dimension": _FLAG, "relative_urls": _FLAG},
}

_PROBLEMS: Final = {
    401: "The token is not valid (error_code 105).",
    403: "The token does not allow this request (162).",
    405: "The path supports other methods only.",
    412: "The api key is not valid (109).",
    422: "A value of the request is not valid (422), or the asset was not found (145).",
    429: "Too many requests in this second.",
    503: "Try again later.",
}


def openapi() -> Json:
    """The OpenAPI 3.1 description as JSON values."""
    paths: dict[str, Json] = {}
    for route in ROUTES:
        paths.setdefault(f"/v3/{route.path}", {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cropmark management",
            "version": "3",
            "description": "Assets of a stack, as the vendor's SDKs manage them.",
        },
        "paths": paths,
        "security": [{"stack": [], "token": []}],
        "components": {
            "securitySchemes": {
                "stack": {"type": "apiKey", "in": "header", "name": "api_key"},
                "token": {"type": "apiKey", "in": "header", "name": "authorization"},
            },
            "schemas": {"Problem": _problem()},
        },
    }


def _operation(route: Route) -> Json:
    name = route.handler.__name__
    operation: Json = {
        "operationId": f"{route.method.lower()} {route.path}",
        "summary": (route.handler.__doc__ or "").partition("\n")[0],
        "parameters": [*_path_parameters(route.path), *_query_parameters(_QUERIES.get(name, {}))],
        "responses": {str(route.status): _json("Done.", {"type": "object"})}
        | {str(status): _json(text, {"$ref": "#/components/schemas/Problem"}) for status, text in _PROBLEMS.items()},
    }
    if route.body:
        operation["requestBody"] = {"required": True, "content": _content(route, name)}
    if route.access is RouteAccess.READ:
        operation["description"] = (
            "With access_token instead of authorization, the request reads published assets only."
        )
    return operation


def _content(route: Route, name: str) -> Json:
    content: dict[str, Any] = {}  # schemas by media type
    if "json" in route.body:
        content["application/json"] = {"schema": _BODIES[name]}
    if "multipart" in route.body:
        content["multipart/form-data"] = {"schema": _FORM}
    return content


def _path_parameters(path: str) -> list[Json]:
    uid = {"type": "string", "pattern": f"^{UID.pattern}$"}
    kinds: dict[str, Json] = {"uid": uid, "name": _TEXT, "version": {"type": "integer", "minimum": 1}}
    names = re.findall(r"\{(\w+)\}", path)
    return [{"name": name, "in": "path", "required": True, "schema": kinds[name]} for name in names]


def _query_parameters(known: dict[str, Json]) -> list[Json]:
    return [{"name": name, "in": "query", "schema": schema} for name, schema in known.items()]


def _json(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _problem() -> Json:
    return {
        "type": "object",
        "required": ["error_message", "error_code", "errors"],
        "properties": {
            "error_message": {"type": "string"},
            "error_code": {"type": "integer"},
            "errors": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
        },
    }
