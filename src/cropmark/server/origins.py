"""Builds the sources of sites that fetch their images: web origins and buckets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cropmark.config.references import resolved
from cropmark.config.settings import Settings
from cropmark.config.site import SiteSettings
from cropmark.config.source_spec import BucketSpec, OriginSpec
from cropmark.server.errors import StartupError
from cropmark.server.policies import private_hosts
from cropmark.sources.original_cache import OriginalCache
from cropmark.sources.policy import AllowedHost, Policy, ReservedHeader
from cropmark.sources.remote import OnFetch
from cropmark.sources.urls import read_url

if TYPE_CHECKING:
    from cropmark.sources.objects import BucketLimits, BucketPlace, ObjectSource

# Imports inside functions: obstore is loaded for a bucket only.


def origin_policy(settings: Settings, site: SiteSettings, origin: OriginSpec) -> Policy:
    """The policy for fetches of a site: which URLs are allowed, with which headers and limits.

    URLs below the site's origin are allowed, even at a private address, because the operator chose it. A redirect to
    another host is refused. Raises StartupError.
    """
    own = AllowedHost.of(read_url(origin.url))
    headers = _resolved(site, "origin_headers", site.origin_headers)
    try:
        return Policy(
            allow=(*private_hosts(settings), own),
            hosts=(origin.rule,),
            headers=tuple(headers.items()),
            connect_s=site.origin_connect_timeout_s,
            first_byte_s=site.origin_read_timeout_s,
            total_s=site.origin_timeout_s,
            limit_bytes=site.origin_max_bytes,
            max_fetches_per_host=site.origin_concurrency,
            max_fetches=max(64, site.origin_concurrency),
            images_only=False,
            chosen_by_client=False,
        )
    except ReservedHeader as error:
        raise StartupError(f"site {site.display_name}: {error}", "remove it from origin_headers") from error


def bucket_source(
    settings: Settings, site: SiteSettings, bucket: BucketSpec, originals: OriginalCache, on_fetch: OnFetch
) -> ObjectSource:
    """A source of the images in a bucket. Does not connect. Raises StartupError."""
    from cropmark.sources.objects import ObjectSource  # noqa: PLC0415 - see above

    store, place, limits = _bucket(settings, site, bucket)
    return ObjectSource(store, place, originals, limits=limits, on_fetch=on_fetch)


@dataclass(frozen=True, slots=True)
class BucketIssue:
    """The reason why the images in a bucket cannot be read, with the fix."""

    message: str
    fix: str
    is_certain: bool = True
    """False if the images may be readable after all. A bucket also responds with AccessDenied for a missing object, if
    the key may not list the bucket."""


async def bucket_issue(settings: Settings, site: SiteSettings, bucket: BucketSpec) -> BucketIssue | None:
    """The reason why images in a bucket cannot be read; None if they can. Sends one request to the bucket."""
    from cropmark.sources.objects import REFUSED_FIX, check_reachable  # noqa: PLC0415 - see above

    try:
        store, place, limits = _bucket(settings, site, bucket)
    except StartupError as error:
        return BucketIssue(error.message, error.fix)
    issue = await check_reachable(store, place, limits)
    if issue is None:
        return None
    failure, reason = issue
    name = f"site {site.display_name}: {bucket}"
    if reason == "AccessDenied":
        message = f"{name}: its key may not list it, or not read it: {reason}"
        return BucketIssue(message, "permit both, else a missing object is 502", is_certain=False)
    return BucketIssue(f"{name} cannot be read ({failure.value}): {reason}", REFUSED_FIX)


def _bucket(settings: Settings, site: SiteSettings, bucket: BucketSpec) -> tuple[Any, BucketPlace, BucketLimits]:
    """The client for the bucket, the location of the images in it, and the limits of requests. Raises StartupError."""
    from cropmark.runtime.object_store import StoreUnusable, open_store, store_scope  # noqa: PLC0415 - see above
    from cropmark.sources.objects import BucketLimits, BucketPlace  # noqa: PLC0415 - see above

    options = _resolved(site, "bucket_options", site.bucket_options)
    limits = BucketLimits(
        site.origin_connect_timeout_s,
        site.origin_read_timeout_s,
        site.origin_timeout_s,
        site.origin_max_bytes,
        site.origin_concurrency,
    )
    url = bucket.store_url
    try:
        store = open_store(
            url,
            f"site {site.display_name}: source",
            limits.times,
            options=options,
            role=settings.allow_instance_credentials,
        )
    except StoreUnusable as error:
        raise StartupError(error.what, error.fix) from error
    scope = f"{store_scope(url, options)} {limits.limit_bytes}"
    return store, BucketPlace(f"{bucket.scheme}:{bucket.bucket}", bucket.prefix, scope), limits


def _resolved(site: SiteSettings, setting: str, values: Mapping[str, str]) -> dict[str, str]:
    try:
        found = resolved(values)
    except ValueError as error:
        raise StartupError(f"site {site.display_name}: {setting}: {error}", "set it, or correct its name") from error
    for name, value in found.items():
        if not value.isprintable():
            message = f"site {site.display_name}: {setting}: {name} has a line break or another control character"
            raise StartupError(message, "write one line of text")
    return found
