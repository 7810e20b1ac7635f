"""Configures the log: one event per line, as text on a terminal, else as JSON. Secrets in URLs are masked."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal
from urllib.parse import unquote

import structlog

_PARAMETER = re.compile(r"(?P<begin>(?:^|[?&])(?P<name>[^?&=]*)=)[^?&]*(?:\?(?![^?&=]*=)[^?&]*)*")
_SECRET_PARAMETERS = frozenset(("key", "token", "access_token", "authtoken", "authorization", "signature", "sig"))
_MASKED_FIELDS = ("path", "query", "source", "sources")


def configure_logging(form: Literal["auto", "text", "json"], *, level: int = logging.INFO) -> None:
    """Write all log events of this process to standard error. `auto` writes text on a terminal, else JSON.

    Python's warnings and uncaught exceptions are logged too.
    """
    is_terminal = sys.stderr.isatty()
    as_text = form == "text" or (form == "auto" and is_terminal)
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _mask_secrets,
    ]
    renderers: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(colors=is_terminal)]
        if as_text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.StackInfoRenderer(),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_LineWriter,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
    )
    _replace_root_handler(formatter, level)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught


def log_to_standard_error() -> None:
    """Write log events to standard error, unless this process has configured structlog itself.

    By default, structlog writes to standard output. That is for the results of commands, and of programs that import
    cropmark.
    """
    if not structlog.is_configured():
        structlog.configure(logger_factory=_LineWriter)


class _LineWriter:
    """Writes formatted lines to standard error, in a tenth of the time that Python's logging takes.

    A line that cannot be written is lost, as in Python's logging, because a full disk must not fail a request.
    """

    def __init__(self, *_: object) -> None:
        self._write = sys.stderr.write

    def msg(self, line: str) -> None:
        with suppress(OSError, ValueError):
            self._write(f"{line}\n")

    debug = info = warning = error = critical = exception = msg


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    structlog.get_logger("cropmark").critical("uncaught exception", exc_info=(kind, error, trace))


def _replace_root_handler(formatter: logging.Formatter, level: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for verbose in ("asyncio", "_granian", "granian"):
        logging.getLogger(verbose).setLevel(logging.WARNING)


def _mask_secrets(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for field in _MASKED_FIELDS:
        if field in event:
            event[field] = _PARAMETER.sub(_mask, str(event[field]))
    return event


def _mask(found: re.Match[str]) -> str:
    """The parameter, with `***` for its value if it is a secret, such as `token`. Its name may be percent-encoded."""
    return f"{found['begin']}***" if unquote(found["name"]).strip().lower() in _SECRET_PARAMETERS else found[0]
