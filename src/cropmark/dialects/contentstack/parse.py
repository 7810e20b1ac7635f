"""Parses a request into an Order: query → typed values → Steps and Output → Order."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from cropmark.dialects.contentstack import params
from cropmark.dialects.contentstack.output import READS, output
from cropmark.dialects.contentstack.query import parse_query
from cropmark.dialects.contentstack.readers import FormatWord
from cropmark.dialects.contentstack.settings import ContentstackSettings
from cropmark.dialects.contentstack.steps import steps
from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.imageopto.encoding import GIFS
from cropmark.dialects.imageopto.readers import strip_mount
from cropmark.dialects.imageopto.steps import ignored_smart_warnings
from cropmark.dialects.params import ParsedParams, parse_params
from cropmark.model.formats import accepted_formats
from cropmark.model.problems import BadRequest, NotFound
from cropmark.plan.plan import Delivery, Fallback, Limits, Order, OverLimit, Plan, RequestWarning
from cropmark.plan.source import PublishScope, SitePath, SourceRequest

LIMITS = Limits(over_limit=OverLimit.SHRINK)

_EFFECTIVE = tuple(row for row in params.PARAMETERS if not row.is_modifier and row is not params.AUTO)
"""A query with neither `auto` nor any of these gets the stored bytes."""

MANAGEMENT_HEADERS = ("api_key", "authtoken", "authorization")
"""Headers of the management API, which give access to drafts of a secured stack."""
UNVERSIONED_MAX_AGE_S = 300
_STACK = re.compile(r"v3/assets/([^/]+)/")
_ONE_FILE = re.compile(r"v3/assets/[^/]+/[^/]+/[0-9a-f]{24}/[^/]+")


def order(request: ImageRequest, settings: ContentstackSettings) -> Order:
    """Parse a request into an Order.

    Raises BadValue or BadRequest for a wrong query, NotFound for an unknown environment or branch.
    """
    parsed, plan = _read(request.query, request.accept, settings)
    scope = _publish_scope(parsed, request, settings)
    return Order(
        sources=_sources(parsed, request, scope),
        plan=plan,
        delivery=_delivery(parsed, request, scope, settings),
        warnings=(*parsed.warnings, *_unknown_words(parsed), *ignored_smart_warnings(params.CROP.of(parsed))),
    )


@lru_cache(256)  # the images of a site share few queries
def _read(raw_query: str, accept: str, settings: ContentstackSettings) -> tuple[ParsedParams, Plan | None]:
    """The typed values of a query, and its Plan.

    If the query changes nothing, it has None in place of a Plan, and the stored bytes are sent.
    """
    parsed = parse_params(params.PARAMETERS, parse_query(raw_query))
    return parsed, _plan(parsed, accept, settings)


def _plan(parsed: ParsedParams, accept: str, settings: ContentstackSettings) -> Plan | None:
    if not _changes_image(parsed):
        return None
    planned = steps(parsed, settings)
    return Plan(
        steps=planned,
        output=output(parsed, accepted_formats(accept), settings, changed=bool(planned)),
        reads=READS,
        limits=LIMITS,
        on_unsupported=Fallback.ORIGINAL,
        on_unusable=Fallback.PROBLEM,
    )


def _changes_image(parsed: ParsedParams) -> bool:
    """True if the request may change the stored bytes. An adjustment by 0 changes nothing."""
    auto = params.AUTO.of(parsed)
    return bool(auto and auto.known) or any(parameter.of(parsed) not in (None, 0) for parameter in _EFFECTIVE)


# ------------------------------------------------------------------------------------------------ publishing


def _publish_scope(parsed: ParsedParams, request: ImageRequest, settings: ContentstackSettings) -> PublishScope | None:
    """The environment, branch and tokens with which a library looks for the asset; None for a folder.

    Raises BadRequest if a required environment is missing. For a folder, raises NotFound if its settings do not list
    the environment or the branch.
    """
    environment = params.ENVIRONMENT.of(parsed)
    branch = params.BRANCH.of(parsed) or "main"
    if environment is None and settings.require_environment:
        raise BadRequest("the query must name an environment", fix="add environment=…", parameter="environment")
    if settings.environments is None:
        return PublishScope(environment, branch, params.ACCESS_TOKEN.of(parsed), _management_token(request))
    if environment is not None and environment not in settings.environments:
        raise _unpublished("environment", "the asset is not published in the environment that was named")
    if branch not in settings.branches:
        raise _unpublished("branch", "the asset does not exist in the branch that was named")
    return None


def _management_token(request: ImageRequest) -> str | None:
    """The management token in the request's headers, else None.

    The token is ignored unless the header `api_key` names the stack in the path.
    Source: https://www.contentstack.com/docs/headless-cms/secure-public-urls-of-assets
    """
    api_key = request.headers.get("api_key")
    if not api_key or not request.path.startswith(f"v3/assets/{api_key}/"):
        return None
    return request.headers.get("authtoken") or request.headers.get("authorization", "").removeprefix("Bearer ") or None


def _unpublished(parameter: str, detail: str) -> NotFound:
    return NotFound(detail, fix=f"leave out {parameter}, or name one that is configured", parameter=parameter)


def _sources(parsed: ParsedParams, request: ImageRequest, scope: PublishScope | None) -> tuple[SourceRequest, ...]:
    image = SourceRequest(SitePath(request.path, scope))
    path = params.OVERLAY.of(parsed)
    if path is None:
        return (image,)
    stack = _STACK.match(request.path)
    aside = scope and replace(scope, parent_stack=stack[1] if stack else "")
    return (
        image,
        SourceRequest(SitePath(strip_mount(request.base, path), aside), optional=True, parameter="overlay"),
    )


def _delivery(
    parsed: ParsedParams, request: ImageRequest, scope: PublishScope | None, settings: ContentstackSettings
) -> Delivery:
    """The delivery options of the response, including the time for which clients may cache it.

    The cache lifetime depends on the query and on the site's source:

    - no environment in the query: UNVERSIONED_MAX_AGE_S
    - an environment, and a folder: the site's setting, because the file can change
    - an environment, and a library path that names one version of a file: `versioned`, because it never changes
    - an environment, and any other library path: UNVERSIONED_MAX_AGE_S

    Source: https://www.contentstack.com/docs/headless-cms/contentstack-cdn-cache-management
    """
    negotiated = params.AUTO.of(parsed) is not None or params.FORMAT.of(parsed) is FormatWord.AUTO
    never_for = () if settings.gif_resize else (GIFS,)
    usual = Delivery(negotiated=negotiated, not_negotiated_for=never_for, rate=_rate(request, settings))
    named = params.ENVIRONMENT.of(parsed) is not None
    if named and scope is None:
        return usual
    if named and _ONE_FILE.fullmatch(request.path):
        return replace(usual, versioned=True)
    return replace(usual, max_age_s=UNVERSIONED_MAX_AGE_S)


def _unknown_words(parsed: ParsedParams) -> tuple[RequestWarning, ...]:
    """A warning for each unknown word in the lists `auto` and `overlay-align`.

    parse_params() has already added the warnings for parameters that have a single word.
    """
    lists = (("auto", params.AUTO.of(parsed)), ("overlay-align", params.OVERLAY_ALIGN.of(parsed)))
    return tuple(
        RequestWarning(name, f"{word} is not known and was ignored")
        for name, words in lists
        if words
        for word in words.unknown
    )


def _rate(request: ImageRequest, settings: ContentstackSettings) -> tuple[str, int] | None:
    """The rate limit of the stack in the path, as its key and requests per second.

    None if the settings have no limit for this stack alone.
    """
    stack = _STACK.match(request.path)
    per_s = settings.rate_limits.get(stack[1]) if stack else None
    return None if stack is None or per_s is None else (f"{settings.organization} {stack[1]}", per_s)
