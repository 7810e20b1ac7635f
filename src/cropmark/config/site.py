"""The settings of one site, and rules about settings that exclude or require each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field, PlainValidator, model_validator

from cropmark.config.references import HeaderTexts, OptionTexts
from cropmark.config.source_spec import BucketSpec, OriginSpec, SourceSpec, parse_source
from cropmark.config.values import (
    DialectName,
    Hosts,
    KeyHeader,
    Origins,
    Prefix,
    PresetName,
    ResourcePolicy,
    SigningKeys,
)
from cropmark.dialects import registry


def _read_source(value: object) -> SourceSpec | None:
    """Parse the source of a site; None for an empty text."""
    if isinstance(value, str):
        return parse_source(value) if value else None
    if value is None or isinstance(value, SourceSpec):
        return value
    raise ValueError("expected a folder, the URL of an origin or a bucket, or library")


class SiteSettings(BaseModel):
    """A `[[site]]` table. It assigns a dialect and a source of images to host names or to a path prefix."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("", description="Name in logs; default: the first of the hosts, else the prefix.")
    hosts: Hosts = Field((), description="Host names without a port; default: every host.")
    prefix: Prefix = Field("", description="URL path of the site, such as `/shop`; default: the whole host.")
    dialect: DialectName = Field(
        description="The dialect of the URLs: " + ", ".join(f"`{n}`" for n in registry.names())
    )
    source: Annotated[SourceSpec | None, PlainValidator(_read_source)] = Field(
        None,
        description="Source of the images: a folder, the URL of an origin such as `https://origin.example/path`, "
        "a bucket such as `s3://bucket/prefix` (also `gs://` and `az://`), or `library`. Not for "
        "`pixlab`: its callers name or upload the image.",
    )
    origin_headers: HeaderTexts = Field(
        default_factory=dict,
        description="Headers to send to the origin, by name; a secret is written as `env:NAME` or `file:/path`.",
    )
    origin_connect_timeout_s: float = Field(
        3.0,
        gt=0,
        le=60,
        description="Timeout in seconds to connect to the origin or bucket, including DNS lookup and TLS handshake.",
    )
    origin_read_timeout_s: float = Field(
        5.0,
        gt=0,
        le=300,
        description="Seconds to wait for the origin's first byte, and between two pieces of its body.",
    )
    origin_timeout_s: float = Field(
        8.0, gt=0, le=600, description="Seconds for a whole fetch, including redirects, retries and the body."
    )
    origin_max_bytes: ByteSize = Field(
        ByteSize(50 * 2**20),
        gt=0,
        description="Largest original that is fetched, in bytes. A larger original gives 413.",
    )
    origin_concurrency: int = Field(
        8,
        ge=1,
        le=1024,
        description="Fetches from one host, or from the bucket, at the same time; further fetches wait.",
    )
    bucket_options: OptionTexts = Field(
        default_factory=dict,
        description="Options of the bucket's client, such as `endpoint`, `region`, `access_key_id` or "
        "`secret_access_key`; a secret is written as `env:NAME` or `file:/path`; default: the environment, see above.",
    )
    max_age_s: int | None = Field(
        None, ge=0, description="Seconds that clients may cache an image; default: the server's `max_age_s`."
    )
    s_maxage_s: int | None = Field(None, ge=0, description="Overrides the server's `s_maxage_s` for this site.")
    stale_while_revalidate_s: int | None = Field(
        None, ge=0, description="Overrides the server's `stale_while_revalidate_s` for this site."
    )
    key_header: KeyHeader | None = Field(None, description="Overrides the server's `key_header` for this site.")
    signing_keys: SigningKeys | None = Field(
        None, description="Signing keys of this site; `[]`: URLs need no signature; default: the server's keys."
    )
    presets: dict[PresetName, str] = Field(
        default_factory=dict,
        description="Queries by name: `?preset=card` is replaced by the query with the name `card`. Other "
        "parameters of the URL override those of the preset.",
    )
    presets_only: bool = Field(
        False,
        description="Reject every query that is not one of the presets; unknown parameters are ignored.",
    )
    allowed_widths: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (),
        description="Widths in pixels that a resize may give. Another width is rounded up to the next allowed "
        "width. Default: all widths.",
    )
    colors: Literal["srgb", "p3", "keep"] | None = Field(
        None, description="Overrides the server's `colors` for this site."
    )
    hdr: Literal["drop", "keep"] | None = Field(None, description="Overrides the server's `hdr` for this site.")
    svg: Literal["pass", "rasterize"] | None = Field(None, description="Overrides the server's `svg` for this site.")
    fallback: str = Field(
        "",
        description="Path, in the site's source, of an image to send if the requested image is missing or broken."
        " It is rendered with the same query. The response has the header `X-Cropmark-Fallback` and "
        "is cached for at most 60 s. Default: the dialect's error.",
    )
    fallback_status: Literal[200, 404] = Field(200, description="Status of a response with the fallback image.")
    cors_origins: Origins | None = Field(None, description="Overrides the server's `cors_origins` for this site.")
    cross_origin_resource_policy: ResourcePolicy | None = Field(
        None, description="Overrides the server's `cross_origin_resource_policy` for this site."
    )
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Settings of the dialect that override the server's for this site."
    )

    @property
    def display_name(self) -> str:
        """The name of the site in logs and messages."""
        return self.name or (self.hosts[0] if self.hosts else self.prefix.strip("/")) or "root"

    @property
    def is_endpoint(self) -> bool:
        """True if the dialect has its own endpoints, such as PixLab. Their callers name or upload the image."""
        return registry.entry(self.dialect).is_endpoint

    @model_validator(mode="after")
    def _check_together(self) -> SiteSettings:
        for is_endpoint, broken, message in _RULES:
            if is_endpoint in (None, self.is_endpoint) and broken(self):
                raise ValueError(message.format(dialect=self.dialect))
        return self


def _is_fetched(site: SiteSettings) -> bool:
    return isinstance(site.source, OriginSpec | BucketSpec)


_ORIGIN_LIMITS: Final = frozenset(
    {
        "origin_connect_timeout_s",
        "origin_read_timeout_s",
        "origin_timeout_s",
        "origin_max_bytes",
        "origin_concurrency",
    }
)

# fmt: off
_RULES: Final[tuple[tuple[bool | None, Callable[[SiteSettings], object], str], ...]] = (
    # is_endpoint, the condition that is an error, its message
    (False, lambda site: site.source is None,
        "source: expected a folder, the URL of an origin or a bucket, or library"),
    (True,  lambda site: site.source is not None,
        "source: not a setting of {dialect}; its callers name or upload the image"),
    (True,  lambda site: site.signing_keys or site.presets or site.presets_only or site.allowed_widths,
        "signing_keys, presets, presets_only, allowed_widths: not settings of {dialect}; its callers have a key"),
    (True,  lambda site: (site.s_maxage_s, site.stale_while_revalidate_s, site.key_header) != (None, None, None),
        "s_maxage_s, stale_while_revalidate_s, key_header: not settings of {dialect}; the dialect sets its headers"),
    (True,  lambda site: (site.cors_origins, site.cross_origin_resource_policy, site.max_age_s) != (None, None, None),
        "cors_origins, cross_origin_resource_policy, max_age_s: not settings of {dialect}; the dialect sets them"),
    (True,  lambda site: (site.colors, site.hdr) != (None, None),
        "colors, hdr: not settings of {dialect}; its results have the profile of the image"),
    (True,  lambda site: site.svg,
        "svg: not a setting of {dialect}, which never draws an SVG"),
    (True,  lambda site: site.fallback,
        "fallback: not a setting of {dialect}; its callers name or upload the image"),
    (True,  lambda site: not (site.hosts or site.prefix.strip("/")),
        "hosts or prefix: a {dialect} site needs one of them"),
    (None,  lambda site: site.origin_headers and not isinstance(site.source, OriginSpec),
        "origin_headers: only for a source that is the URL of an origin"),
    (None,  lambda site: site.bucket_options and not isinstance(site.source, BucketSpec),
        "bucket_options: only for a source that is a bucket"),
    (None,  lambda site: _ORIGIN_LIMITS & site.model_fields_set and not _is_fetched(site),
        "origin_…: only for a source that is the URL of an origin, or a bucket"),
    (None,  lambda site: site.presets_only and not site.presets,
        "presets: expected at least one, because presets_only rejects every other query"),
)
"""Settings that exclude or require each other. The first column is the value of is_endpoint to which a row applies.

A row with None applies to all sites.
"""
# fmt: on
