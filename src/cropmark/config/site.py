"""Settings of one site, and the rules about settings that exclude or need each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, model_validator

from cropmark.config.source_spec import SourceSpec, parse_source
from cropmark.config.values import DialectName, Hosts, Origins, Prefix, PresetName, ResourcePolicy, SigningKeys
from cropmark.dialects import registry


def _read_source(value: object) -> SourceSpec | None:
    """The source, parsed; None for an empty text."""
    if isinstance(value, str):
        return parse_source(value) if value else None
    if value is None or isinstance(value, SourceSpec):
        return value
    raise ValueError("expected a folder, the URL of an origin, or library")


class SiteSettings(BaseModel):
    """A `[[site]]` table binds host names or a path prefix to one dialect and one source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("", description="Name in logs; default: the first of the hosts, else the prefix.")
    hosts: Hosts = Field((), description="Host names without a port; default: every host.")
    prefix: Prefix = Field("", description="URL path of the site, such as `/shop`; default: the whole host.")
    dialect: DialectName = Field(
        description="The dialect of the URLs: " + ", ".join(f"`{n}`" for n in registry.names())
    )
    source: Annotated[SourceSpec | None, PlainValidator(_read_source)] = Field(
        None,
        description="The images: a folder, the URL of an origin such as `https://origin.example/path`, or `library`; "
        "not for `pixlab`: its callers name or upload the image.",
    )
    max_age_s: int | None = Field(
        None, ge=0, description="Seconds that clients may cache an image; default: the server's `max_age_s`."
    )
    signing_keys: SigningKeys | None = Field(
        None, description="Signing keys of this site; `[]`: URLs need no signature; default: the server's keys."
    )
    presets: dict[PresetName, str] = Field(
        default_factory=dict,
        description="Queries by name: `?preset=card` is replaced by the query named `card`, which the other parameters "
        "of the URL override.",
    )
    presets_only: bool = Field(
        False,
        description="Reject every query that is not one of the presets; unknown names are ignored.",
    )
    allowed_widths: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="Widths in pixels that a resize may give; others are rounded up to the next; default: all."
    )
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
        """True if the dialect has endpoints of its own; their callers name or upload the image."""
        return registry.entry(self.dialect).is_endpoint

    @model_validator(mode="after")
    def _check_together(self) -> SiteSettings:
        for is_endpoint, broken, message in _RULES:
            if is_endpoint in (None, self.is_endpoint) and broken(self):
                raise ValueError(message.format(dialect=self.dialect))
        return self


# fmt: off
_RULES: Final[tuple[tuple[bool | None, Callable[[SiteSettings], object], str], ...]] = (
    # is_endpoint, the condition that is an error, its message
    (False, lambda site: site.source is None,
        "source: expected a folder, the URL of an origin, or library"),
    (True,  lambda site: site.source is not None,
        "source: not a setting of {dialect}; its callers name or upload the image"),
    (True,  lambda site: site.signing_keys or site.presets or site.presets_only or site.allowed_widths,
        "signing_keys, presets, presets_only, allowed_widths: not settings of {dialect}; its callers have a key"),
    (True,  lambda site: (site.cors_origins, site.cross_origin_resource_policy, site.max_age_s) != (None, None, None),
        "cors_origins, cross_origin_resource_policy, max_age_s: not settings of {dialect}; the dialect sets them"),
    (True,  lambda site: not (site.hosts or site.prefix.strip("/")),
        "hosts or prefix: a {dialect} site needs one of them"),
    (None,  lambda site: site.presets_only and not site.presets,
        "presets: expected at least one, because presets_only rejects every other query"),
)
"""Settings that exclude or need each other. First column: the value of is_endpoint for which a row holds; None: any."""
# fmt: on
