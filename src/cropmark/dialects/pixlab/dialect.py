"""The PixLab dialect: the sheet that the rest of the server sees.

The order of checks is the service's: the endpoint and its method, admit(); the key, key_of(); the fields,
read_request(); and only then the picture. Where keys are kept, and that they are compared in constant time, is the
web's part.
Source: https://pixlab.io/endpoints/crop
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge

from cropmark.dialects.dialect import Headers, ImageRequest, ParameterDoc, Response, Result, Serialized, Unsupported
from cropmark.dialects.pixlab import parse, responses
from cropmark.dialects.pixlab.endpoints import EndpointName, admitted
from cropmark.dialects.pixlab.params import PARAMS
from cropmark.dialects.pixlab.parse import RenderImage, Request
from cropmark.dialects.pixlab.writer import written
from cropmark.dialects.responses import EVERY_ORIGIN, warning_headers
from cropmark.model.problems import BadRequest, Problem, Unauthorized
from cropmark.plan.plan import Limits, Order

Bound = Annotated[int, Ge(1)]


@dataclass(frozen=True, slots=True)
class PixLabSettings:
    """What an operator may choose: how large a picture may be, in bytes, pixels and on a side."""

    source_bytes: Bound = 25 * 2**20
    """Bytes that a picture may have which is sent or named."""
    source_pixels: Bound = 100_000_000
    """Pixels of it, and of all frames of an animation."""
    side: Bound = 16_384
    """Pixels that its sides may have, and those of a crop; a resize gives 10,000 at most."""

    @property
    def limits(self) -> Limits:
        return Limits(
            source_bytes=self.source_bytes,
            source_side=self.side,
            source_pixels=self.source_pixels,
            side=self.side,
            animation_area=self.source_pixels,
        )


@dataclass(frozen=True, slots=True)
class PixLab:
    """PixLab's crop, resize and their neighbors."""

    settings: PixLabSettings = PixLabSettings()

    name: ClassVar[str] = "pixlab"
    params: ClassVar[tuple[ParameterDoc, ...]] = PARAMS
    headers: ClassVar[tuple[str, ...]] = (parse.KEY_HEADER,)

    def admit(self, ask: ImageRequest) -> EndpointName:
        """The endpoint asked for. Raises NotFound for an unknown one, NotAllowed for a method that it does not take."""
        return admitted(ask)

    def key_of(self, ask: ImageRequest) -> str | None:
        """The key that the request brings; None: none. Raises BadOrder for a query past all bounds."""
        return parse.key_of(ask)

    def unauthorized(self, key: str | None) -> Unauthorized:
        """The Problem for a key that is missing (None), unknown or blocked; it does not hold the key."""
        detail = "key: expected a key, got none" if key is None else "key: expected a valid key, got another"
        return Unauthorized(detail, fix="write key=… or send the header WWW-Authenticate", parameter="key")

    def read_request(self, ask: ImageRequest) -> Request:
        """What is asked of an endpoint, for whoever acts on it. Raises what admit() and the fields give cause to."""
        return parse.read(admitted(ask), ask, self.settings.limits)

    def order(self, ask: ImageRequest) -> Order:
        """The picture that is asked for; the key is not looked at.

        Raises NotFound, NotAllowed, SourceRefused, BadOrder: also for an endpoint that makes no picture.
        """
        request = self.read_request(ask)
        if isinstance(request, RenderImage):
            return request.order
        raise BadRequest(f"{admitted(ask).value} answers with JSON, it makes no picture", fix="use crop or resize")

    def headers_of(self, order: Order, result: Result) -> Headers:
        """CORS, and what was odd."""
        return (*EVERY_ORIGIN, *warning_headers(result.warnings))

    def error_response(self, problem: Problem, ask: ImageRequest) -> Response:
        """The problem as the service's JSON."""
        return responses.refusal(problem, ask)

    def serialize(self, order: Order) -> Serialized | Unsupported:
        return written(order)
