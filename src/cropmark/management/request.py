"""A call of the management API, as whoever serves it hands it over, and what may be wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cropmark.model.assets import BranchRef, LibraryKey, UploadInfo
from cropmark.model.problems import BadRequest, Forbidden
from cropmark.ports import OpenSource

Json = dict[str, Any]  # what json.dumps takes


class Unprocessable(BadRequest):
    """Well-formed, and not what this call takes."""

    status, code = 422, "unacceptable"


class UnknownStack(Forbidden):
    """No api key, or one of no stack."""

    status, code = 412, "unknown_stack"


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file that came with a call: its bytes, and what a renderer found them to be."""

    upload: UploadInfo
    source: OpenSource


@dataclass(frozen=True, slots=True)
class ManagementRequest:
    """A call of somebody who may make it. `base` is where URLs of assets begin; `names` are those in the path."""

    place: BranchRef
    by: str
    base: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    sent: UploadedFile | None = None
    strict: bool = False
    """Environments are not made by publishing to them."""
    reader: LibraryKey | None = None
    """The delivery token of a reader: only what is published is there for them."""

    def asks(self, name: str) -> bool:
        """Whether a switch of the query is on."""
        return self.query.get(name, "").lower() == "true"

    @property
    def uid(self) -> str:
        return self.names["uid"]
