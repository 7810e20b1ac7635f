"""The whole way of a request: query → what was asked → Steps → Plan → Order."""

from __future__ import annotations

import re
from dataclasses import replace

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
from cropmark.dialects.params import Parameter, ParsedParams, parse_params
from cropmark.model.formats import accepted_formats
from cropmark.model.problems import BadRequest, NotFound
from cropmark.plan.plan import Delivery, Fallback, Limits, Order, OverLimit, Plan, RequestWarning
from cropmark.plan.source import PublishScope, SitePath, SourceRequest

LIMITS = Limits(over_limit=OverLimit.SHRINK)

# Without one of these, or `auto`, the stored bytes go out: the others only say how one of these is to be done.
_EFFECTIVE: tuple[Parameter[object], ...] = (
    params.QUALITY,
    params.FORMAT,
    params.WIDTH,
    params.HEIGHT,
    params.CROP,
    params.TRIM,
    params.ORIENT,
    params.OVERLAY,
    params.PAD,
    params.CANVAS,
    params.BG_COLOR,
    params.BRIGHTNESS,
    params.CONTRAST,
    params.SATURATION,
    params.SHARPEN,
    params.BLUR,
    params.FRAME,
)

MANAGEMENT_HEADERS = ("api_key", "authtoken", "authorization")
"""Headers of the management API, which open drafts of a secured stack."""
UNVERSIONED_MAX_AGE_S = 300
_STACK = re.compile(r"v3/assets/([^/]+)/")
_ONE_FILE = re.compile(r"v3/assets/[^/]+/[^/]+/[0-9a-f]{24}/[^/]+")


def order(request: ImageRequest, settings: ContentstackSettings) -> Order:
    """What the request asks for. Raises BadValue, BadOrder, and NotFound for what is not published here."""
    asked = parse_params(params.PARAMETERS, parse_query(request.query))
    edition = _publish_scope(asked, request, settings)
    return Order(
        sources=_sources(asked, request, edition),
        plan=_plan(asked, request, settings),
        delivery=_delivery(asked, request, edition, settings),
        warnings=(*asked.warnings, *_unknown_words(asked), *ignored_smart_warnings(params.CROP.of(asked))),
    )


def _plan(asked: ParsedParams, request: ImageRequest, settings: ContentstackSettings) -> Plan | None:
    if not _changes_image(asked):
        return None
    done = steps(asked, settings)
    return Plan(
        steps=done,
        output=output(asked, accepted_formats(request.accept), settings, changed=bool(done)),
        reads=READS,
        limits=LIMITS,
        on_unsupported=Fallback.ORIGINAL,
        on_unusable=Fallback.PROBLEM,
    )


def _changes_image(asked: ParsedParams) -> bool:
    """Whether anything but the stored bytes may be wanted; a tone moved by 0 is not."""
    auto = params.AUTO.of(asked)
    return bool(auto and auto.known) or any(row.of(asked) not in (None, 0) for row in _EFFECTIVE)


# ------------------------------------------------------------------------------------------------ what is published


def _publish_scope(asked: ParsedParams, request: ImageRequest, settings: ContentstackSettings) -> PublishScope | None:
    """The edition that a library is asked for; None over a folder, whose files are all published alike."""
    environment = params.ENVIRONMENT.of(asked)
    branch = params.BRANCH.of(asked) or "main"
    if environment is None and settings.require_environment:
        raise BadRequest("an environment is needed here", fix="add environment=…", parameter="environment")
    if settings.environments is None:
        return PublishScope(environment, branch, params.ACCESS_TOKEN.of(asked), _management_token(request))
    if environment is not None and environment not in settings.environments:
        raise _unpublished("environment", "the asset is not published in the environment that was named")
    if branch not in settings.branches:
        raise _unpublished("branch", "the asset does not exist in the branch that was named")
    return None


def _management_token(request: ImageRequest) -> str | None:
    """The token of whoever manages the stack that the path names, and says so as in the management API.

    Source: https://www.contentstack.com/docs/headless-cms/secure-public-urls-of-assets
    """
    api_key = request.headers.get("api_key")
    if not api_key or not request.path.startswith(f"v3/assets/{api_key}/"):
        return None
    return request.headers.get("authtoken") or request.headers.get("authorization", "").removeprefix("Bearer ") or None


def _unpublished(parameter: str, detail: str) -> NotFound:
    return NotFound(detail, fix=f"leave out {parameter}, or name one that is configured", parameter=parameter)


def _sources(asked: ParsedParams, request: ImageRequest, scope: PublishScope | None) -> tuple[SourceRequest, ...]:
    picture = SourceRequest(SitePath(request.path, scope))
    path = params.OVERLAY.of(asked)
    if path is None:
        return (picture,)
    stack = _STACK.match(request.path)
    aside = scope and replace(scope, parent_stack=stack[1] if stack else "")
    return (
        picture,
        SourceRequest(SitePath(strip_mount(request.base, path), aside), optional=True, parameter="overlay"),
    )


def _delivery(
    asked: ParsedParams, request: ImageRequest, scope: PublishScope | None, settings: ContentstackSettings
) -> Delivery:
    """How long it may be kept: briefly without an environment, a year where the URL also names one file of a library.

    A folder's files change under their names, so with an environment the site's setting holds for them.

    Source: https://www.contentstack.com/docs/headless-cms/contentstack-cdn-cache-management
    """
    negotiated = params.AUTO.of(asked) is not None or params.FORMAT.of(asked) is FormatWord.AUTO
    never_for = () if settings.gif_resize else (GIFS,)
    usual = Delivery(negotiated=negotiated, not_negotiated_for=never_for, rate=_rate(request, settings))
    named = params.ENVIRONMENT.of(asked) is not None
    if named and scope is None:
        return usual
    if named and _ONE_FILE.fullmatch(request.path):
        return replace(usual, versioned=True)
    return replace(usual, max_age_s=UNVERSIONED_MAX_AGE_S)


def _unknown_words(asked: ParsedParams) -> tuple[RequestWarning, ...]:
    """The words of lists that are not known; those of single words were told by the table."""
    found = (("auto", params.AUTO.of(asked)), ("overlay-align", params.OVERLAY_ALIGN.of(asked)))
    return tuple(
        RequestWarning(name, f"{word} is not known and was ignored")
        for name, words in found
        if words
        for word in words.unknown
    )


def _rate(request: ImageRequest, settings: ContentstackSettings) -> tuple[str, int] | None:
    """The limit of the stack that the path names, where it has one of its own."""
    found = _STACK.match(request.path)
    per_s = settings.rate_limits.get(found[1]) if found else None
    return None if found is None or per_s is None else (f"{settings.organization} {found[1]}", per_s)
