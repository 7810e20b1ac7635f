"""Every setting of the server: names, types, bounds, defaults and what it is for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from cropmark.dialects.contentstack.settings import ContentstackSettings
from cropmark.dialects.env_values import listed
from cropmark.dialects.fastly.settings import FastlySettings
from cropmark.dialects.kontent.dialect import KontentSettings
from cropmark.dialects.pixlab.dialect import PixLabSettings
from cropmark.security.signing import Keyring, SigningKey

PREFIX = "CROPMARK_"

DialectName = Literal["fastly", "contentstack", "kontent", "pixlab"]


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(listed)]


_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*|\[[0-9a-f:.]+\]")


def _host(text: str) -> str:
    """A host as the Host header has it, without its port."""
    name = text.lower()
    if not _HOST.fullmatch(name):
        raise ValueError("expected a host name alone, without scheme, port or path, such as images.example.com")
    return name


def _prefix(text: str) -> str:
    """A path that begins with a slash and ends without one; empty for the whole host."""
    if text and not re.fullmatch(r"/[^?#\s]*", text):
        raise ValueError("expected a path that begins with a slash, such as /shop")
    return text.rstrip("/")


_ORIGIN = re.compile(rf"[a-z][a-z0-9+.-]*://({_HOST.pattern})(:[0-9]{{1,5}})?")
_ADDRESS = re.compile(rf"https?://({_HOST.pattern})(:[0-9]{{1,5}})?(/[^?#\s]*)?", re.IGNORECASE)


def _origin(text: str) -> str:
    """An origin as the Origin header has it, which knows no path and no default port."""
    origin = text.lower()
    usual_port = re.fullmatch(r"http:.*:80|https:.*:443", origin)
    if origin not in ("*", "null") and (usual_port or not _ORIGIN.fullmatch(origin)):
        raise ValueError("expected an origin as browsers send it, such as https://example.com")
    return origin


def _address(text: str) -> str:
    """A URL that paths can be written behind."""
    if text and not _ADDRESS.fullmatch(text):
        raise ValueError("expected scheme and host, perhaps port and path, such as https://images.example.com")
    return text


def _source(text: str) -> str:
    """A folder, or a URL with its scheme in small letters."""
    return re.sub(r"^https?://", lambda scheme: scheme[0].lower(), text, flags=re.IGNORECASE)


def _preset(name: str) -> str:
    """A name that stands in a URL as it is."""
    if not re.fullmatch(r"[A-Za-z0-9._~-]+", name):
        raise ValueError("expected a name of letters, digits and . _ ~ - only, for it stands in URLs")
    return name


Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(listed)]
Hosts = Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], NoDecode, BeforeValidator(listed)]
Prefix = Annotated[str, AfterValidator(_prefix)]


def _strong(keys: tuple[SecretStr, ...] | None) -> tuple[SecretStr, ...] | None:
    if keys:
        Keyring(SigningKey.read(key.get_secret_value()) for key in keys)
    return keys


SigningKeys = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(listed), AfterValidator(_strong)]
ResourcePolicy = Literal["cross-origin", "same-site", "same-origin", "off"]


class SiteSettings(BaseModel):
    """A `[[site]]`: a host name or a path prefix, bound to one dialect and one source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("", description="What logs call it; the host or prefix where left out.")
    hosts: Hosts = Field((), description="Host names, without a port; none: any.")
    prefix: Prefix = Field("", description="URL path it is mounted at, such as `/shop`; empty: the whole host.")
    dialect: DialectName = Field(description="`fastly`, `contentstack`, `kontent` or `pixlab`.")
    source: Annotated[str, AfterValidator(_source)] = Field(
        "",
        description="A folder, the URL of an origin: `https://origin.example/path`, or `library`; for `pixlab` none.",
    )
    max_age_s: int | None = Field(None, ge=0, description="What clients are told; the server's setting where left out.")
    signing_keys: SigningKeys | None = Field(
        None, description="Keys of its own in place of the server's; `[]`: its URLs need no signature."
    )
    presets: dict[Annotated[str, AfterValidator(_preset)], str] = Field(
        default_factory=dict, description="Queries by name: `?preset=card` stands for the query named card."
    )
    presets_only: bool = Field(False, description="Only presets, by name or spelled out, are answered.")
    widths: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="The only widths that a resize gives; what is asked for is rounded up to one of them."
    )
    cors_origins: Origins | None = Field(None, description="As the server's setting, for this site.")
    resource_policy: ResourcePolicy | None = Field(None, description="As the server's setting, for this site.")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="The dialect's settings that differ here from the server's section."
    )

    @model_validator(mode="after")
    def _whole(self) -> SiteSettings:
        if self.dialect != "pixlab" and not self.source:
            raise ValueError("source: expected a folder or the origin's URL")
        if self.dialect == "pixlab" and self.source:
            raise ValueError("source: there is none for pixlab, whose callers name or send their pictures")
        if self.dialect == "pixlab" and (self.signing_keys or self.presets or self.presets_only or self.widths):
            raise ValueError("signing_keys, presets, widths: there are none for pixlab, whose callers have a key")
        if self.dialect == "pixlab" and (self.cors_origins, self.resource_policy, self.max_age_s) != (None, None, None):
            raise ValueError("cors_origins, resource_policy, max_age_s: pixlab's answers have its service's own")
        if self.presets_only and not self.presets:
            raise ValueError("presets: none is named, and nothing else would be answered")
        if self.dialect == "pixlab" and not (self.hosts or self.prefix.strip("/")):
            raise ValueError("hosts or prefix: one of them is needed for pixlab")
        return self


class Settings(BaseSettings):
    """Every setting, with its default; the names are those of the TOML file."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        env_ignore_empty=True,
        revalidate_instances="always",  # a dialect's settings that were made in Python have the same bounds
    )

    folder: Path | None = Field(None, description="Folder of pictures served under /fastly, /contentstack, /kontent.")
    host: str = Field("127.0.0.1", description="Address to listen on, IPv4 or IPv6, or a name of it.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0: a free one.")
    public_url: Annotated[str, AfterValidator(_address)] = Field(
        "", description="The server's own address in links; where it listens if left out."
    )
    renderers: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Renderer processes; one a core if left out, in a container one a core of its share.",
    )
    queue: int | None = Field(
        None, ge=1, description="Tasks that may wait whatever they cost; 8 a renderer if left out."
    )
    render_deadline_s: float = Field(
        10.0, gt=0, le=600, description="Seconds a picture may take before it is given up."
    )
    analysis_deadline_s: float = Field(3.0, gt=0, le=600, description="Seconds an analysis for smart crops may take.")
    sandbox: Literal["try", "require", "off"] = Field(
        "try",
        description="`try` warns where the kernel lacks something, `require` refuses to start, `off` is for debugging.",
    )
    old_libraries: Literal["refuse", "warn"] = Field(
        "refuse", description="What becomes of a start with native libraries whose memory bugs are published."
    )
    isolation: Literal["shared", "request"] = Field(
        "shared", description="`request` gives each foreign picture a renderer process of its own."
    )
    cache_dir: Path | None = Field(None, description="Disk cache; the platform's cache folder if left out.")
    data_dir: Path | None = Field(None, description="What must be kept; the platform's data folder if left out.")
    database_url: SecretStr | None = Field(
        None,
        description="The library's database, `postgresql://user@host/name`; a file in the data folder if left out.",
    )
    library_store: str = Field(
        "",
        description="Where the library's files are: `s3://bucket/prefix`, with the keys as told below; in the data "
        "folder if left out.",
    )
    bucket_role: bool = Field(
        False,
        description="Where the environment holds no key to a bucket, the machine's own role is asked for one, at its "
        "metadata address; otherwise the server does not start.",
    )
    library_limit: ByteSize = Field(ByteSize(100 * 2**20), description="Bytes that an uploaded file may have.")
    strict_environments: bool = Field(
        False, description="Publishing to an environment that is not there is refused; otherwise it is made."
    )
    management_rate: int = Field(
        10, ge=0, description="Reads and writes, each, a second and organization that the management API takes; 0: any."
    )
    redis_url: SecretStr | None = Field(
        None,
        description="Where servers count requests and renditions together, `redis://host:6379/0`; alone if left out.",
    )
    memory_cache: ByteSize = Field(ByteSize(64 * 2**20), description="Bytes of renditions kept in memory.")
    disk_cache: ByteSize = Field(ByteSize(2 * 2**30), description="Bytes of renditions kept on disk.")
    originals_cache: ByteSize = Field(ByteSize(2**30), description="Bytes of originals from the web kept on disk.")
    max_age_s: int = Field(3600, ge=0, description="Seconds that clients may keep a picture (Cache-Control).")
    versioned_max_age_s: int = Field(31_536_000, ge=0, description="The same where the URL names a version.")
    admin_token: SecretStr | None = Field(None, description="Opens /admin/…; without one those paths are 404.")
    pixlab_key: SecretStr | None = Field(
        None, description="Key of the PixLab endpoints; a new one each start if left out."
    )
    pixlab_keep_s: int = Field(
        7 * 86_400, ge=0, description="Seconds that PixLab's results stay behind their links; 0: until deleted."
    )
    pixlab_results: ByteSize = Field(
        ByteSize(2**30), description="Bytes of PixLab's results that are kept; beyond it the oldest go."
    )
    pixlab_store: str = Field(
        "", description="Where PixLab's results are: `s3://bucket/prefix`; in the data folder if left out."
    )
    pixlab_per_minute: int = Field(
        600, ge=0, description="Requests to PixLab's endpoints that one client address may make in a minute; 0: any."
    )
    web_allow: Listed = Field(
        (), description="host:port pairs that the web source may reach although they are private or on other ports."
    )
    web_open: bool = Field(True, description="Whether PixLab's img may name any public host.")
    web_hosts: Listed = Field(
        (), description="Hosts that PixLab's img may name, such as `*.example.com`; given, it may name no others."
    )
    production: bool = Field(
        False,
        description="Refuses to start with weak keys or an open web source; pages for development are off.",
    )
    signing_keys: SigningKeys = Field(
        (), description="Picture URLs must be signed by one of these: a key of 32 bytes or more, or `ID:KEY`."
    )
    trusted_proxies: Listed = Field(
        (), description="Addresses and networks of proxies whose X-Forwarded-For is believed."
    )
    variants_per_minute: int | None = Field(
        None,
        ge=0,
        description="New renditions of one picture that a client may ask for in a minute; 0: any. "
        "If left out, 600 in production and any otherwise.",
    )
    cors_origins: Origins | None = Field(
        None, description="Origins that may read answers, `*` for all; as the dialect does it if left out."
    )
    resource_policy: ResourcePolicy = Field(
        "cross-origin", description="Cross-Origin-Resource-Policy of pictures: who may show them."
    )
    max_source_pixels: int = Field(
        150_000_000, ge=1, description="Pixels in all frames of a source; where a dialect allows fewer, that stands."
    )
    smart: bool = Field(True, description="Content-aware cropping; off: the center.")
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="`auto`: text on a terminal, else JSON lines."
    )
    access_log: Literal["misses", "all", "off"] = Field(
        "misses", description="Requests that are logged; hits from memory are counted in /metrics either way."
    )
    shutdown_s: float = Field(10.0, ge=0, description="Seconds that requests in hand are given when stopping.")
    fastly: FastlySettings = Field(FastlySettings(), description="The Fastly dialect.")
    contentstack: ContentstackSettings = Field(ContentstackSettings(), description="The Contentstack dialect.")
    kontent: KontentSettings = Field(KontentSettings(), description="The Kontent.ai dialect.")
    pixlab: PixLabSettings = Field(PixLabSettings(), description="The PixLab endpoints.")
    site: Annotated[tuple[SiteSettings, ...], NoDecode] = Field(
        (), description="Sites, as `[[site]]` tables; they are said in the file alone."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The command line before the environment before the file."""
        given = init_settings.init_kwargs if isinstance(init_settings, InitSettingsSource) else {}
        document = given.pop("toml_document", {})
        environ = given.pop("environ", None)
        if environ is not None and isinstance(env_settings, EnvSettingsSource):
            env_settings.env_vars = {name.lower(): text for name, text in environ.items() if text}
        return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=document)
