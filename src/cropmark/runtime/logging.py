"""How logs are written: one event a line, as text on a terminal and as JSON elsewhere; no key ever in them."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal
from urllib.parse import unquote

import structlog

_PARAMETER = re.compile(r"(?P<begin>(?:^|[?&])(?P<name>[^?&=]*)=)[^?&]*(?:\?(?![^?&=]*=)[^?&]*)*")
_SECRET = frozenset(("key", "token", "access_token", "authtoken", "authorization", "signature", "sig"))
_ALWAYS_TEXT = ("path", "query", "source", "sources")


def _masked(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for field in _ALWAYS_TEXT:
        if field in event:
            event[field] = _PARAMETER.sub(_hidden, str(event[field]))
    return event


def _hidden(found: re.Match[str]) -> str:
    """A parameter without its value, where that is a secret. Its name may be percent-encoded."""
    return f"{found['begin']}***" if unquote(found["name"]).strip().lower() in _SECRET else found[0]


def set_up(form: Literal["auto", "text", "json"], *, level: int = logging.INFO) -> None:
    """From now on the whole process logs this way, to standard error."""
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _masked,
    ]
    rendered: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("asyncio", "_granian", "granian"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
