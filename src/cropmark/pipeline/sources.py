"""Finds the versions of an order's sources, and opens the sources. An optional source may be missing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from cropmark.model.problems import SourceProblem
from cropmark.plan.plan import Order, RequestWarning
from cropmark.plan.source import SitePath, SourceRequest
from cropmark.ports import OpenSource, Source, SourceVersion


async def current_versions(source: Source, order: Order) -> list[SourceVersion | None]:
    """The current version of each source of the order; None for an optional source that is missing."""
    versions: list[SourceVersion | None] = []
    for request in order.sources:
        try:
            version = source.stat(request.ref)
            if version is None:
                opened = await source.open(request.ref)
                opened.close()
                version = opened.version
        except SourceProblem as problem:
            if not request.optional:
                raise _naming_parameter(problem, request) from problem.__cause__
            version = None
        versions.append(version)
    return versions


async def open_all(
    source: Source, requests: Sequence[SourceRequest], cleanup: ExitStack
) -> tuple[list[OpenSource | None], list[RequestWarning]]:
    """Open the sources. `cleanup` closes them.

    For an optional source that cannot be opened, returns None and a warning.
    """
    sources: list[OpenSource | None] = []
    warnings = []
    for request in requests:
        try:
            opened = await source.open(request.ref)
        except SourceProblem as problem:
            if not request.optional:
                raise _naming_parameter(problem, request) from problem.__cause__
            warnings.append(RequestWarning(request.parameter or "source", f"left out, {problem.detail}"))
            sources.append(None)
            continue
        cleanup.callback(opened.close)
        sources.append(opened)
    return sources, warnings


def is_current(source: Source, order: Order, versions: tuple[SourceVersion, ...]) -> bool:
    """True if no source of the order was replaced or purged since it was opened.

    `versions` are the versions of the sources when they were opened.
    """
    for request in order.sources:
        try:
            version = source.stat(request.ref)
        except SourceProblem:
            if request.optional:
                continue
            return False
        if version is not None and version not in versions:
            return False
    return True


def _naming_parameter(problem: SourceProblem, request: SourceRequest) -> SourceProblem:
    """The problem, with a text that names the parameter and the path of the image.

    Returned unchanged if no parameter named the image.
    """
    if request.parameter is None:
        return problem
    named = type(problem)(problem.detail)  # a source may raise the same object to other requests
    vars(named).update(vars(problem))
    named.detail, named.parameter = f"{request.parameter}: {problem.detail}", request.parameter
    if isinstance(request.ref, SitePath):
        named.detail = f"{request.parameter}: {request.ref.path!r}: {problem.detail}"
        named.fix = f"check the paths in {request.parameter}"
    return named
