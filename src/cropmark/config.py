"""The configuration: a TOML file, then environment variables CROPMARK_*, then the command line; the later wins.

pydantic-settings reads and checks. What it lacks stands here: a hint for a mistyped key or variable, the TOML line of a
mistake, where each value came from, and masking.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
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
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from cropmark.dialects.contentstack.settings import ContentstackSettings
from cropmark.dialects.fastly.settings import FastlySettings
from cropmark.dialects.kontent.dialect import KontentSettings
from cropmark.dialects.pixlab.dialect import PixLabSettings
from cropmark.signing import Key, Keyring

PREFIX = "CROPMARK_"
DEFAULT_FILE = "cropmark.toml"
MASK = "********"

DialectName = Literal["fastly", "contentstack", "kontent", "pixlab"]


def _listed(value: object) -> object:
    """A comma list, as an environment variable writes it, is a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]


def _strong(keys: tuple[SecretStr, ...] | None) -> tuple[SecretStr, ...] | None:
    if keys:
        Keyring(Key.read(key.get_secret_value()) for key in keys)
    return keys


SigningKeys = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_strong)]
ResourcePolicy = Literal["cross-origin", "same-site", "same-origin", "off"]


class SiteSettings(BaseModel):
    """A `[[site]]`: a host name or a path prefix, bound to one dialect and one source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("", description="What logs and metrics call it; the host or prefix where left out.")
    hosts: Listed = Field((), description="Host names, without a port; none: any.")
    prefix: str = Field("", description="URL path it is mounted at, such as `/shop`; empty: the whole host.")
    dialect: DialectName = Field(description="`fastly`, `contentstack`, `kontent` or `pixlab`.")
    source: str = Field(
        "",
        description="A folder, the URL of an origin: `https://origin.example/path`, or `library`; for `pixlab` none.",
    )
    max_age_s: int | None = Field(None, ge=0, description="What clients are told; the server's setting where left out.")
    signing_keys: SigningKeys | None = Field(
        None, description="Keys of its own in place of the server's; `[]`: its URLs need no signature."
    )
    presets: dict[str, str] = Field(
        default_factory=dict, description="Queries by name: `?preset=card` stands for the query named card."
    )
    presets_only: bool = Field(False, description="Only presets, by name or spelled out, are answered.")
    widths: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="The only widths that a resize gives; what is asked for is rounded up to one of them."
    )
    cors_origins: Listed | None = Field(None, description="As the server's setting, for this site.")
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
        if self.presets_only and not self.presets:
            raise ValueError("presets: none is named, and nothing else would be answered")
        if self.dialect == "pixlab" and not (self.hosts or self.prefix.strip("/")):
            raise ValueError("hosts or prefix: one of them is needed for pixlab")
        return self


class Settings(BaseSettings):
    """Every setting, with its default; the names are those of the TOML file."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )

    folder: Path | None = Field(None, description="Folder of pictures served under /fastly, /contentstack, /kontent.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0: a free one.")
    public_url: str = Field("", description="The server's own address in links; where it listens if left out.")
    renderers: int | None = Field(None, ge=1, le=256, description="Renderer processes; one a core if left out.")
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
        "", description="Where the library's files are: `s3://bucket/prefix`; in the data folder if left out."
    )
    library_limit: ByteSize = Field(ByteSize(100 * 2**20), description="Bytes that an uploaded file may have.")
    strict_environments: bool = Field(
        False, description="Publishing to an environment that is not there is refused; otherwise it is made."
    )
    management_rate: int = Field(
        10, ge=0, description="Reads and writes, each, a second and organization that the management API takes; 0: any."
    )
    redis_url: SecretStr | None = Field(
        None, description="Where servers count requests together, `redis://host:6379/0`; each alone if left out."
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
        ByteSize(2**30), description="Bytes of PixLab's results kept on disk; beyond it the oldest go."
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
    cors_origins: Listed | None = Field(
        None, description="Origins that may read answers, `*` for all; as the dialect does it if left out."
    )
    resource_policy: ResourcePolicy = Field(
        "cross-origin", description="Cross-Origin-Resource-Policy of pictures: who may show them."
    )
    max_source_pixels: int = Field(
        150_000_000, ge=1, description="Pixels in all frames of a source; where a dialect allows fewer, that stands."
    )
    smart: bool = Field(True, description="Content-aware cropping; off: the centre.")
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
    site: tuple[SiteSettings, ...] = Field((), description="Sites, as `[[site]]` tables.")

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
        return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=document)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong with a configuration: where, what, and what to write instead."""

    where: str
    what: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f" | {self.mend}" if self.mend else "")


class BadConfiguration(Exception):
    """All mistakes at once."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Origin:
    """A setting's value as text, masked where secret, and where it came from."""

    name: str
    value: str
    came_from: str


@dataclass(frozen=True, slots=True)
class Configured:
    """Settings with the file they came from, if any, and the origin of each value."""

    settings: Settings
    file: Path | None
    origins: tuple[Origin, ...]


def configured(
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Configured:
    """The configuration as it holds now. Raises BadConfiguration with every mistake that was found.

    `file` None: cropmark.toml of the working folder where it is. `overrides`: what the command line says.
    """
    environ = os.environ if environ is None else environ
    overrides = {k: v for k, v in (overrides or {}).items() if v is not None}
    if file is None and Path(DEFAULT_FILE).is_file():
        file = Path(DEFAULT_FILE)
    text, document = _read(file) if file else ("", {})
    mistakes = [*_unknown_keys(document, text, file), *_unknown_variables(environ)]
    try:
        settings = Settings(**{**overrides, "toml_document": _known_only(document)})
    except ValidationError as error:
        mistakes += _explained(error, text, file, overrides, environ)
        raise BadConfiguration(tuple(mistakes)) from error
    if mistakes:
        raise BadConfiguration(tuple(mistakes))
    return Configured(settings, file, tuple(_origins(settings, document, text, file, overrides, environ)))


# ---------------------------------------------------------------------------------------------- the file


def _read(file: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = file.read_text("utf-8")
        return text, tomllib.loads(text)
    except FileNotFoundError as error:
        raise BadConfiguration((Mistake(str(file), "there is no such file", "check --config"),)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfiguration((Mistake(str(file), f"cannot be read: {error}"),)) from error
    except tomllib.TOMLDecodeError as error:
        raise BadConfiguration((Mistake(str(file), f"is not TOML: {error}", "strings stand in quotes"),)) from error


_HEADER = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.\-]+)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"^\s*([A-Za-z0-9_\-]+)\s*=")


def _lines(text: str) -> dict[tuple[str | int, ...], int]:
    """The line of every key and table of a TOML text, by its path."""
    found: dict[tuple[str | int, ...], int] = {}
    table: tuple[str | int, ...] = ()
    counts: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            name = header[2]
            parts: tuple[str | int, ...] = tuple(name.split("."))
            if header[1] == "[[":
                counts[name] = counts.get(name, -1) + 1
                parts = (*parts, counts[name])
            elif parts and parts[0] in counts:
                parts = (parts[0], counts[str(parts[0])], *parts[1:])
            table = parts
            found[table] = number
        elif key := _KEY.match(line):
            found[(*table, key[1])] = number
    return found


def _place(path: tuple[str | int, ...], text: str, file: Path | None) -> str:
    lines = _lines(text)
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return f"{file}:{lines[path[:end]]}"
    return str(file)


# ---------------------------------------------------------------------------------------------- unknown names


def schema(kind: Any) -> dict[str, Any] | None:
    """Names and types of a settings class' fields; None for what is no such class."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: info.annotation for name, info in kind.model_fields.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        return {f.name: f.type for f in fields(kind)}
    return None


def _site_schema() -> dict[str, Any]:
    return schema(SiteSettings) or {}


def _unknown_keys(document: Mapping[str, Any], text: str, file: Path | None) -> Iterator[Mistake]:
    for path, names in _strangers(document):
        where = _place(path, text, file)
        yield Mistake(where, f"there is no setting {'.'.join(map(str, path))!r}", _hint(str(path[-1]), names))


def _strangers(document: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], list[str]]]:
    top: dict[str, Any] = schema(Settings) or {}
    for key, value in document.items():
        if key not in top:
            yield (key,), list(top)
        elif key == "site" and isinstance(value, list):
            for number, table in enumerate(value):
                names = _site_schema()
                yield from (((key, number, k), list(names)) for k in table if k not in names)
        elif isinstance(value, dict) and (section := schema(top[key])) is not None:
            yield from (((key, k), list(section)) for k in value if k not in section)


def _known_only(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document without the strangers, so that the rest is checked too."""
    known: dict[str, Any] = {}
    strangers = {path for path, _ in _strangers(document)}
    for key, value in document.items():
        if (key,) in strangers:
            continue
        if isinstance(value, dict):
            value = {k: v for k, v in value.items() if (key, k) not in strangers}
        elif key == "site" and isinstance(value, list):
            value = [{k: v for k, v in t.items() if (key, n, k) not in strangers} for n, t in enumerate(value)]
        known[key] = value
    return known


def variables() -> dict[str, str]:
    """Every environment variable that is read, and the setting it sets."""
    found = {}
    for name, kind in (schema(Settings) or {}).items():
        inner = schema(kind)
        if inner is None:
            found[f"{PREFIX}{name.upper()}"] = name
        else:
            found |= {f"{PREFIX}{name.upper()}__{k.upper()}": f"{name}.{k}" for k in inner}
    return found


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[Mistake]:
    known = variables()
    for name in environ:
        if name.startswith(PREFIX) and name.upper() not in known:
            yield Mistake(f"environment {name}", "there is no such variable", _hint(name, list(known)))


def _hint(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else "see docs/configuration.md for the names"


# ---------------------------------------------------------------------------------------------- mistakes


def _explained(
    error: ValidationError, text: str, file: Path | None, overrides: Mapping[str, Any], environ: Mapping[str, str]
) -> Iterator[Mistake]:
    for one in error.errors():
        path = tuple(part for part in one["loc"] if part != "toml_document")
        name = ".".join(map(str, path))
        variable = PREFIX + "__".join(str(part).upper() for part in path)
        if path and path[0] in overrides:
            where = f"--{str(path[0]).replace('_', '-')}"
        elif variable in environ:
            where = f"environment {variable}"
        else:
            where = _place(path, text, file)
        secret = any(word in name for word in ("key", "token", "secret"))
        got = "" if secret or one["type"] == "missing" else f", got {one['input']!r}"
        yield Mistake(where, f"{name}: {one['msg'][0].lower()}{one['msg'][1:]}{got}")


def _origins(
    settings: Settings,
    document: Mapping[str, Any],
    text: str,
    file: Path | None,
    overrides: Mapping[str, Any],
    environ: Mapping[str, str],
) -> Iterator[Origin]:
    for path, value in leaves(settings):
        variable = PREFIX + "__".join(path).upper()
        inner = document.get(path[0])
        in_file = path[0] in document and (len(path) == 1 or (isinstance(inner, dict) and path[1] in inner))
        if path[0] in overrides:
            came_from = f"--{path[0].replace('_', '-')}"
        elif environ.get(variable):
            came_from = variable
        elif in_file:
            came_from = _place(path, text, file)
        else:
            came_from = "default"
        yield Origin(".".join(path), shown(value), came_from)


def leaves(settings: Settings) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every single setting by its path, sections opened."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        inner = schema(type(value))
        if inner is None:
            yield (name,), value
        else:
            yield from (((name, k), getattr(value, k)) for k in inner)


def shown(value: Any) -> str:
    match value:
        case SecretStr():
            return MASK
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case ByteSize():
            return value.human_readable()
        case tuple():
            return ", ".join(shown(v) for v in value) or "-"
        case SiteSettings():
            return f"{value.name or ','.join(value.hosts) or value.prefix}: {value.dialect} over {value.source}"
        case _:
            return str(value)
