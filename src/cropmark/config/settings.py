"""Defines every setting of the server: name, type, bounds, default and description."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

from pydantic import ByteSize, Field, create_model
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from cropmark.config.references import Secret
from cropmark.config.renamed import without_aliases
from cropmark.config.site import SiteSettings
from cropmark.config.values import BaseUrl, KeyHeader, Origins, ResourcePolicy, SigningKeys, TextList
from cropmark.dialects import registry

T = TypeVar("T")

PREFIX: Final = "CROPMARK_"

_MOUNTS: Final = ", ".join(f"`{mount.prefix}`" for dialect in registry.DIALECTS for mount in dialect.mounts)


class ServerSettings(BaseSettings):
    """All settings except those of the dialects, which the class Settings adds. Fields have their names in the file."""

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
        "127.0.0.1",
        description="Address to listen on: an IPv4 or IPv6 address, a host name, or `unix:/path.sock`. A Unix "
        "socket is for a proxy on this machine, which must send X-Forwarded-For; it also needs "
        "`public_url`. A reload does not change the address. Default: this machine only.",
    )
    port: int = Field(
        8000, ge=0, le=65535, description="Port to listen on; 0: a free port. A reload does not change it."
    )
    admin_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Separate port for `/readyz`, `/metrics`, `/admin/…` and `/_explain`, which are then 404 on "
        "the public port. `/healthz` is on both ports, the playground on neither. 0: a free port; "
        "default: the public port.",
    )
    admin_host: str = Field(
        "127.0.0.1", description="Address that `admin_port` listens on; default: this machine only."
    )
    public_url: BaseUrl = Field(
        "", description="Base URL of the server in the links that it returns; default: the address that it listens on."
    )
    fronts: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Number of front processes, which speak HTTP on the same port, share the disk cache, and divide "
        "the renderers, the memory and the limits. Default: one for each four CPUs, at most `renderers`. The server "
        "does not start with more than `renderers`, or with more than 1 if `host` is a Unix socket. A reload does not "
        "change it.",
    )
    renderers: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Number of renderer processes; default: the CPUs available, or the container's CPU quota.",
    )
    queue_limit: int = Field(
        512,
        ge=1,
        description="Largest number of waiting tasks. If it is reached, further requests get 503. Each waiting "
        "task holds a file open.",
    )
    request_deadline_s: float = Field(
        10.0,
        gt=0,
        le=600,
        description="Longest time in seconds that a client should wait for an image. A request that would "
        "probably wait longer gets 503 immediately.",
    )
    memory_limit_bytes: ByteSize | None = Field(
        None,
        ge=64 * 2**20,
        description="Memory of the server with all renderers, in bytes. A render waits until enough memory is "
        "free. It is rejected if it needs more memory than all renders together may use. Default: the"
        " container's limit, or the machine's memory.",
    )
    frame_cache_bytes: ByteSize = Field(
        ByteSize(48 * 2**20),
        ge=0,
        le=2**30,
        description="Size of each renderer's cache of decoded pixels, in bytes; 0: no cache. It stores the last image "
        "for three seconds, so that the sizes of a srcset share one decode. At most a 32nd of `memory_limit_bytes`. "
        "Untrusted images are not cached.",
    )
    render_timeout_s: float = Field(
        10.0, gt=0, le=600, description="Seconds after which a render is stopped and the request fails."
    )
    analysis_timeout_s: float = Field(
        3.0,
        gt=0,
        le=600,
        description="Seconds after which the analysis for a smart crop is stopped; the image is then cropped to "
        "the center.",
    )
    sandbox: Literal["try", "require", "off"] = Field(
        "try",
        description="Sandbox of the renderers: `try` logs a warning if the kernel lacks a layer of the sandbox, "
        "`require` then refuses to start, `off` is for debugging.",
    )
    allow_vulnerable_libraries: bool = Field(
        False,
        description="Start even if native image libraries have known memory-safety bugs; default: the server "
        "does not start.",
    )
    cmyk: Literal["browser", "press"] = Field(
        "browser",
        description="Colors of CMYK images without a profile: `browser` as browsers show them, `press` as a generic "
        "offset press prints them, which is duller.",
    )
    colors: Literal["srgb", "p3", "keep"] = Field(
        "srgb",
        description="Colors of results from sources with colors outside sRGB: `srgb` converts them to sRGB. `p3` "
        "converts them to Display P3, with a profile of 480 bytes. `keep` leaves the colors and their"
        " profile unchanged. A GIF is always sRGB.",
    )
    hdr: Literal["drop", "keep"] = Field(
        "drop",
        description="Gain maps of Ultra HDR JPEGs: `drop` removes them. `keep` crops, resizes and rotates them with "
        "the image, and writes them into a result that is a JPEG, unless a border, an overlay, a montage or black and "
        "white changed the image.",
    )
    svg: Literal["pass", "rasterize"] = Field(
        "pass",
        description="Handling of SVGs: `pass` delivers them unchanged or refuses them, depending on the dialect. "
        "`rasterize` draws them at the size of the result, without text; see docs/formats.md.",
    )
    isolation: Literal["shared", "request"] = Field(
        "shared",
        description="Processes for untrusted images: `shared` reuses renderer processes, `request` starts a new "
        "process for each image.",
    )
    cache_dir: Path | None = Field(
        None, description="Folder of the disk caches; default: the platform's cache folder of this user."
    )
    data_dir: Path | None = Field(
        None,
        description="Folder of the library and of stored results; default: the platform's data folder of this user.",
    )
    database_url: Secret | None = Field(
        None,
        description="Database of the library, `postgresql://user@host/name`; default: an SQLite file in `data_dir`.",
    )
    database_timeout_s: float = Field(
        5.0,
        gt=0,
        le=600,
        description="Seconds after which a query of PostgreSQL fails. A change may take three times as long.",
    )
    library_stale_s: float = Field(
        300.0,
        ge=0,
        description="Seconds for which known assets are served while the library's database does not respond; 0: none.",
    )
    library_store: str = Field(
        "",
        description="Bucket for the library's files, `s3://bucket/prefix`. Its credentials come from the environment, "
        "as described below. Default: `data_dir`.",
    )
    allow_instance_credentials: bool = Field(
        False,
        description="Get credentials for a bucket from the cloud machine's metadata address if the environment "
        "has none. Default: without credentials the server does not start.",
    )
    max_upload_bytes: ByteSize = Field(
        ByteSize(100 * 2**20), description="Largest file that the management API accepts, in bytes."
    )
    strict_environments: bool = Field(
        False,
        description="Reject publishing to an environment that does not exist; default: the environment is created.",
    )
    management_requests_per_s: int = Field(
        10,
        ge=0,
        description="Largest number of requests per second to the management API for each organization; reads and "
        "writes are counted separately. 0: no limit.",
    )
    redis_url: Secret | None = Field(
        None,
        description="Redis that several servers share for rate limits, purges and one render per image, "
        "`redis://host:6379/0`. Default: each server counts, purges and renders alone.",
    )
    memory_cache_bytes: ByteSize = Field(
        ByteSize(64 * 2**20),
        description="Size of the memory cache of encoded images, in bytes; at most a sixteenth of "
        "`memory_limit_bytes`. 0: off.",
    )
    disk_cache_bytes: ByteSize = Field(
        ByteSize(2 * 2**30), description="Size of the disk cache of encoded images, in bytes; 0: off."
    )
    disk_cache_entries: int = Field(
        500_000,
        ge=1,
        description="Largest number of entries in the disk cache; the least recently used entries are removed first.",
    )
    shared_cache: str = Field(
        "",
        description="Object store in which several servers share encoded images, `s3://bucket/prefix`, `gs://…`, "
        "`az://…` or `file:///folder`; default: each server has its own caches only.",
    )
    shared_cache_timeout_s: float = Field(
        0.3,
        gt=0,
        le=10,
        description="Seconds after which a lookup in the shared cache ends and the image is rendered.",
    )
    shared_cache_ttl_s: int = Field(
        30 * 86_400, ge=60, description="Seconds after which an entry of the shared cache is not used anymore."
    )
    originals_cache_bytes: ByteSize = Field(
        ByteSize(2**30),
        description="Size of the disk cache of originals from web origins and buckets, in bytes; 0: off.",
    )
    max_age_s: int = Field(3600, ge=0, description="Seconds that clients may cache an image (`Cache-Control`).")
    s_maxage_s: int | None = Field(
        None,
        ge=0,
        description="Seconds that shared caches, such as a CDN, may cache an image (`s-maxage`); default: not sent.",
    )
    stale_while_revalidate_s: int | None = Field(
        None,
        ge=0,
        description="Seconds that caches may serve an old image while they get a new one (`stale-while-revalidate`); "
        "default: not sent.",
    )
    key_header: KeyHeader = Field(
        "off",
        description="Header with the keys by which a CDN purges images: `surrogate-key` (Fastly and others) or "
        "`cache-tag` (Cloudflare and others), see docs/fleet.md.",
    )
    cdn: Literal["off", "fastly", "cloudflare"] = Field(
        "off",
        description="CDN to which purges are sent too, through its API. Needs `cdn_id`, `cdn_token` and `key_header`.",
    )
    cdn_id: str = Field("", description="Id of the Fastly service or of the Cloudflare zone.")
    cdn_token: Secret | None = Field(None, description="API token that may purge the CDN; best in the environment.")
    cdn_api_url: BaseUrl = Field("", description="Base URL of the CDN's API; default: the vendor's.")
    versioned_max_age_s: int = Field(
        31_536_000, ge=0, description="Seconds that clients may cache an image if its URL names a version."
    )
    admin_token: Secret | None = Field(
        None, description="Bearer token of `/admin/…`; default: these paths respond with 404."
    )
    metrics_token: Secret | None = Field(
        None,
        description="Bearer token that reads `/metrics` only, for Prometheus; the admin token reads it too.",
    )
    trace_from_anyone: bool = Field(
        False,
        description="Traces (OpenTelemetry) that are continued: `true` continues a trace from any client's "
        "request, `false` only from a proxy in `trusted_proxies`.",
    )
    pixlab_key: Secret | None = Field(
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
        description="`host:port` pairs that may be fetched from although their address is private, or their port "
        "is not 80 or 443. Default: none. The source of a site needs no entry. `web_allow` is an "
        "alias.",
    )
    pixlab_allow_any_host: bool = Field(
        True, description="Let PixLab's `img` name any public host if `pixlab_allowed_hosts` is empty."
    )
    pixlab_allowed_hosts: TextList = Field(
        (),
        description="Allow list for PixLab's `img`, such as `*.example.com`; if empty, `pixlab_allow_any_host` "
        "decides.",
    )
    production: bool = Field(
        False,
        description="For servers on the Internet: the pages for development are off, and the server does not start "
        "with weak keys or if PixLab's `img` may name any public host.",
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
        description="Addresses and networks of the proxies in front of the server. For a request from one of "
        "them, the client's address is read from `X-Forwarded-For`. Default: none; the client is the "
        "peer of the connection.",
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
    max_connections: int = Field(
        1024,
        ge=1,
        description="Largest number of connections that are served at the same time; further connections wait. A "
        "slow client holds at most 256 KiB of a small response. A reload does not change the number.",
    )
    max_connections_per_client: int = Field(
        256,
        ge=0,
        description="Largest number of connections from one address at the same time. It also limits the "
        "responses above 256 KiB to one client. 0: no limit. Connections from this machine and from "
        "`trusted_proxies` are not limited.",
    )
    write_timeout_s: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="Seconds in which a client must receive the next 64 KiB of a large response; a slower client "
        "is disconnected. A client that receives less than 16 KiB per second of any response is also "
        "disconnected, after a grace period of this length.",
    )
    max_sending_bytes: ByteSize = Field(
        ByteSize(256 * 2**20),
        description="Largest total size, in bytes, of all bodies above 256 KiB that are being sent. Equal bodies "
        "count once. A response that would exceed the limit is 503.",
    )
    max_source_pixels: int = Field(
        150_000_000,
        ge=1,
        description="Largest source, in pixels of all its frames; a dialect's own lower limit also applies.",
    )
    smart_crop: bool = Field(True, description="Smart crops find faces and subjects. `false`: they crop to the center.")
    info: bool | None = Field(
        None,
        description="Serve facts about each image at `/_info/` followed by the image's path: size, colors, faces, "
        "focal point and placeholders. Sites with signed URLs require a signature. Default: false in production, "
        "otherwise true.",
    )
    log_format: Literal["auto", "text", "json"] = Field(
        "auto",
        description="Format of the log; `auto`: text on a terminal, else one JSON object per line. With `json`, "
        "the greeting and the reason of a failed start are JSON too.",
    )
    access_log: Literal["misses", "all", "off"] = Field(
        "misses", description="Requests to log; `misses`: all except hits in the memory cache, which `/metrics` counts."
    )
    drain_delay_s: float = Field(
        0.0,
        ge=0,
        le=600,
        description="Seconds for which the server still serves requests after the signal to stop. `/readyz` then "
        "responds with 503, so that a load balancer sends requests elsewhere. Default: none.",
    )
    shutdown_timeout_s: float = Field(
        10.0, ge=0, description="Seconds in which running requests may finish when the server stops."
    )
    site: Annotated[tuple[SiteSettings, ...], NoDecode] = Field(
        (), description="Sites, as `[[site]]` tables; only in the file."
    )

    def section(self, settings_cls: type[T]) -> T:
        """The server's settings for one dialect. `settings_cls` is the dialect's settings class."""
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
        """The inputs in the order of precedence: the command line, the environment, the file."""
        given = init_settings.init_kwargs if isinstance(init_settings, InitSettingsSource) else {}
        document = without_aliases(given.pop("toml_document", {}))
        environ = given.pop("environ", None)
        if isinstance(env_settings, EnvSettingsSource):
            variables = env_settings.env_vars if environ is None else environ
            texts = {name.lower(): text for name, text in variables.items() if text}
            env_settings.env_vars = without_aliases(texts, PREFIX.lower())
        return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=document)


def with_sections(dialects: Iterable[registry.DialectEntry]) -> type[ServerSettings]:
    """A settings class that has one section for each dialect, such as `[fastly]`."""
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
