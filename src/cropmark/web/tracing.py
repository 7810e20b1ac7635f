"""Traces requests: each request to the app gets a span."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cropmark.runtime import tracing
from cropmark.web.client_ip import ClientIp
from cropmark.web.request import Message, Receive, Scope, Send

Respond = Callable[[Scope, Receive, Send], Awaitable[None]]


def traced(respond: Respond, client_ip: ClientIp, *, from_anyone: bool) -> Respond:
    """A function that calls `respond` within a span. It is `respond` itself if tracing is off.

    The span continues the trace named in the request's headers, if the request comes from a trusted proxy. With
    `from_anyone`, it continues the trace of any client.
    """
    if not tracing.is_on():
        return respond

    async def respond_in_span(scope: Scope, receive: Receive, send: Send) -> None:
        continues = from_anyone or client_ip.is_trusted_proxy(scope)
        carrier = tracing.context_headers(scope["headers"]) if continues else {}
        attributes = {
            "http.request.method": scope["method"],
            "url.path": scope["raw_path"].decode("latin-1")[:512],
            "client.address": client_ip.address(scope),
        }
        with tracing.request_span(scope["method"], attributes, carrier) as span:

            async def observed(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    for name, value in message.get("headers", ()):
                        if name == b"x-request-id":
                            span.set_attribute("cropmark.request_id", value.decode("latin-1"))
                await send(message)

            await respond(scope, receive, observed)

    return respond_in_span
