"""A request to the management API, and its errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cropmark.model.assets import BranchRef, LibraryKey, UploadInfo
from cropmark.model.problems import BadRequest, Forbidden
from cropmark.ports import OpenSource

Json = dict[str, Any]  # what json.dumps takes


class InvalidField(BadRequest):
    """A request to the management API has a value that the route does not accept."""

    status, code = 422, "invalid_field"


class UnknownStack(Forbidden):
    """The `api_key` of a request to the management API is missing, or does not belong to any stack."""

    status, code = 412, "unknown_stack"


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """An uploaded file, and its name, format and size."""

    info: UploadInfo
    source: OpenSource


@dataclass(frozen=True, slots=True)
class ManagementRequest:
    """An authorized request to the management API. The response's URLs of assets begin with `base_url`."""

    branch: BranchRef
    author: str
    base_url: str = ""
    path_values: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    upload: UploadedFile | None = None
    strict_environments: bool = False
    """True: publishing to an unknown environment is an error. False: it creates the environment."""
    reader: LibraryKey | None = None
    """The delivery token, if the request has one instead of a management token. It reads published assets only."""

    def flag(self, name: str) -> bool:
        """True if the query parameter `name` has the value `true`, in upper or lower case."""
        return self.query.get(name, "").lower() == "true"

    @property
    def uid(self) -> str:
        return self.path_values["uid"]
