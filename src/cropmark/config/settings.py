"""Every setting of the server: name, type, bounds, default and description."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

from pydantic import ByteSize, Field, SecretStr, create_model
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from cropmark.config.renamed import without_aliases
from cropmark.config.site import SiteSettings
from cropmark.config.values import BaseUrl, Origins, ResourcePolicy, SigningKeys, TextList
from cropmark.dialects import registry

T = TypeVar("T")

PREFIX: Final = "CROPMARK_"

_MOUNTS: Final = ", ".join(f"`{mount.prefix}`" for dialect in registry.DIALECTS for mount in dialect.mounts)


class ServerSettings(BaseSettings):
    """Every setting but those of the dialects, which Settings adds; the names are those of the TOML file."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        hide_input_in_errors=True,  # tracebacks must not show secrets
        frozen=True,
        env_ignore_empty=True,
        revalidate_instances="always",  # checks the bounds of a dialect's settings that were built in Python
    )

    folder: Path | None = Field(
        None, description=f"Folder of images to serve under {_MOUNTS}; default: only the configured sites are served."
    )
    host: str = Field(
        "127.0.0.1", description="IPv4 or IPv6 address to listen on, or its name; default: this machine only."
    )
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0: a free port.")
    public_url: BaseUrl = Field(
        "", description="Base URL of the server in the links it returns; default: the address it listens on."
    )
    renderers: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Number of renderer processes; default: the CPUs available, or the container's CPU quota.",
    )
    queue_limit: int | None = Field(
        None,
        ge=1,
        description="Tasks that may wait at any cost; above it, the limit on waiting work applies too. Default: 8 per "
        "renderer.",
    )
    render_timeout_s: float = Field(
        10.0, gt=0, le=600, description="Seconds after which a render is stopped and the request fails."
    )
    analysis_timeout_s: float = Field(
        3.0, gt=0, le=600, description="Seconds after which a smart crop's analysis is stopped; the center is used."
    )
    sandbox: Literal["try", "require", "off"] = Field(
        "try",
        description="`try` logs a warning if the kernel lacks a layer of the sandbox, `require` refuses to start, "
        "`off` is for debugging.",
    )
    allow_vulnerable_libraries: bool = Field(
        False, description="Start even if native image libraries have known memory-safety bugs; default: refuse."
    )
    cmyk: Literal["browser", "press"] = Field(
        "browser",
        description="Colors of CMYK images without a profile: `browser` as browsers show them, `press` as a generic "
        "offset press prints them, which is duller.",
    )
    isolation: Literal["shared", "request"] = Field(
        "shared", description="`request` starts a new renderer process for each untrusted image, `shared` reuses them."
    )
    cache_dir: Path | None = Field(
        None, description="Folder of the disk caches; default: the platform's cache folder of this user."
    )
    data_dir: Path | None = Field(
        None,
        description="Folder of the library and of stored results; default: the platform's data folder of this user.",
    )
    database_url: SecretStr | None = Field(
        None,
        description="Database of the library, `postgresql://user@host/name`; default: an SQLite file in `data_dir`.",
    )
    database_timeout_s: float = Field(
        5.0,
        gt=0,
        le=600,
        description="Seconds after which a query of PostgreSQL fails; a change may take three times as long.",
    )
    library_stale_s: float = Field(
        300.0,
        ge=0,
        description="Seconds for which known assets are served while the library's database does not respond; 0: none.",
    )
    library_store: str = Field(
        "",
        description="Bucket of the library's files, `s3://bucket/prefix`, with keys from the environment as described "
        "below; default: `data_dir`.",
    )
    allow_instance_credentials: bool = Field(
        False,
        description="Get credentials for a bucket from the cloud machine's metadata address if the environment holds "
        "none; default: refuse to start without a key.",
    )
    max_upload_bytes: ByteSize = Field(
        ByteSize(100 * 2**20), description="Largest file, in bytes, that the management API accepts."
    )
    strict_environments: bool = Field(
        False,
        description="Reject publishing to an environment that does not exist; default: the environment is created.",
    )
    management_requests_per_s: int = Field(
        10,
        ge=0,
        description="Management API rate limit per second and organization, for reads and for writes; 0: no limit.",
    )
    redis_url: SecretStr | None = Field(
        None,
        description="Redis that holds the rate limits of several servers, `redis://host:6379/0`; default: each server "
        "counts alone.",
    )
    memory_cache_bytes: ByteSize = Field(
        ByteSize(64 * 2**20), description="Size of the memory cache of encoded images, in bytes; 0: off."
    )
    disk_cache_bytes: ByteSize = Field(
        ByteSize(2 * 2**30), description="Size of the disk cache of encoded images, in bytes; 0: off."
    )
    originals_cache_bytes: ByteSize = Field(
        ByteSize(2**30), description="Size of the disk cache of originals from the web, in bytes; 0: off."
    )
    max_age_s: int = Field(3600, ge=0, description="Seconds that clients may cache an image (`Cache-Control`).")
    versioned_max_age_s: int = Field(
        31_536_000, ge=0, description="Seconds that clients may cache an image if its URL names a version."
    )
    admin_token: SecretStr | None = Field(
        None, description="Bearer token of `/admin/…`; default: these paths respond with 404."
    )
    pixlab_key: SecretStr | None = Field(
        None, description="API key of the PixLab endpoints; default: a random key at each start."
    )
    pixlab_result_ttl_s: int = Field(
        7 * 86_400, ge=0, description="Seconds after which a PixLab result is deleted; 0: no time limit."
    )
    pixlab_result_bytes: ByteSize = Field(
        ByteSize(2**30), description="Total size of stored PixLab results, in bytes; above it the oldest are deleted."
    )
    pixlab_store: str = Field("", description="Bucket of PixLab's results, `s3://bucket/prefix`; default: `data_dir`.")
    pixlab_requests_per_minute: int = Field(
        600, ge=0, description="PixLab rate limit: requests per minute and client address; 0: none."
    )
    allow_private_hosts: TextList = Field(
        (),
        description="`host:port` pairs that may be fetched from although their address is private or their port is "
        "not 80 or 443; default: none. `web_allow` is an alias.",
    )
    pixlab_allow_any_host: bool = Field(
        True, description="Let PixLab's `img` name any public host if `pixlab_allowed_hosts` is empty."
    )
    pixlab_allowed_hosts: TextList = Field(
        (),
        description="Allow list for PixLab's `img`, such as `*.example.com`; default: see `pixlab_allow_any_host`.",
    )
    production: bool = Field(
        False,
        description="Refuse to start with weak keys or with any host open to PixLab's `img`, and turn off the pages "
        "for development.",
    )
    signing_keys: SigningKeys = Field(
        (),
        description="Keys for signed image URLs, each `KEY` or `ID:KEY` with a key of at least 32 bytes; default: "
        "URLs need no signature.",
    )
    image_headers_from_anyone: bool | None = Field(
        None,
        description="Whether headers that change the image, such as X-Fastly-Imageopto-Overlay, are read from every "
        "client. If false, and always on sites with keys, presets or allowed widths, only trusted_proxies may send "
        "them. Default: false in production, otherwise true.",
    )
    trusted_proxies: TextList = Field(
        (),
        description="Addresses and networks of proxies; their `X-Forwarded-For` is trusted; default: the client is "
        "the peer of the connection.",
    )
    variants_per_minute: int | None = Field(
        None,
        ge=0,
        description="New variants of one image that a client may request per minute; 0: no limit; default: 600 in "
        "production, else no limit.",
    )
    cors_origins: Origins | None = Field(
        None, description="Origins that may read responses with CORS, `*`: all; default: as the dialect's vendor does."
    )
    cross_origin_resource_policy: ResourcePolicy = Field(
        "cross-origin",
        description="Header `Cross-Origin-Resource-Policy` of images: the sites that may embed them; `off`: not sent.",
    )
    max_source_pixels: int = Field(
        150_000_000,
        ge=1,
        description="Largest source, in pixels of all its frames; a dialect's own lower limit also applies.",
    )
    smart_crop: bool = Field(True, description="Smart crops find faces and subjects; `false`: they crop to the center.")
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="Format of the log; `auto`: text on a terminal, else one JSON object per line."
    )
    access_log: Literal["misses", "all", "off"] = Field(
        "misses", description="Requests to log; `misses`: all but memory cache hits, which `/metrics` counts anyway."
    )
    shutdown_timeout_s: float = Field(
        10.0, ge=0, description="Seconds that running requests get to finish when the server stops."
    )
    site: Annotated[tuple[SiteSettings, ...], NoDecode] = Field(
        (), description="Sites, as `[[site]]` tables; only in the file."
    )

    def section(self, settings_cls: type[T]) -> T:
        """The server's settings of one dialect, found by their class."""
        return next(value for _, value in self if isinstance(value, settings_cls))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The command line overrides the environment, which overrides the file."""
        given = init_settings.init_kwargs if isinstance(init_settings, InitSettingsSource) else {}
        document = without_aliases(given.pop("toml_document", {}))
        environ = given.pop("environ", None)
        if isinstance(env_settings, EnvSettingsSource):
            variables = env_settings.env_vars if environ is None else environ
            texts = {name.lower(): text for name, text in variables.items() if text}
            env_settings.env_vars = without_aliases(texts, PREFIX.lower())
        return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=document)


def with_sections(dialects: Iterable[registry.DialectEntry]) -> type[ServerSettings]:
    """The settings class with one section for each dialect, such as `[fastly]`."""
    sections: dict[str, Any] = {
        dialect.name: (
            dialect.settings_cls,
            Field(dialect.settings_cls(), description=f"Settings of the dialect {dialect.title}."),
        )
        for dialect in dialects
    }
    return create_model("Settings", __base__=ServerSettings, **sections)


if TYPE_CHECKING:
    Settings = ServerSettings  # sections have no static name: ServerSettings.section() returns them typed
else:
    Settings = with_sections(registry.DIALECTS)
