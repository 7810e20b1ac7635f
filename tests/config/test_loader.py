# ruff: noqa: E501 - tables are read by their columns, one row a line
"""Values of a configuration, their origins, and an error with line and fix for each issue."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from cropmark.cli.main import app
from cropmark.config import loader
from cropmark.config.loader import InvalidConfiguration, LoadedSettings, Settings, environment_variables, load_settings
from cropmark.config.renamed import RENAMED
from cropmark.dialects.contentstack.settings import ContentstackSettings
from cropmark.dialects.fastly.settings import FastlySettings, JpegType
from cropmark.dialects.imageopto.readers import FILTERS
from cropmark.dialects.pixlab.settings import PixLabSettings
from cropmark.server.check import find_issues

SITE = '[[site]]\nhosts = ["a.example"]\ndialect = "fastly"\nsource = "."\n'

PIXLAB = '[[site]]\nprefix = "/p"\ndialect = "pixlab"\n'

# fmt: off
INVALID = [
    # the file                                                  line  words
    ("prot = 80\n",                                             1,    ("unknown setting 'prot'", "did you mean port?")),
    ("\n# first\nport = 70000\n",                               3,    ("port: input should be less than or equal to 65535, got 70000", "port to listen on; 0: a free port")),
    ("port = 'x'\n",                                            1,    ("port: input should be a valid integer", "got 'x'")),
    ('"prot" = 80\n',                                           1,    ("unknown setting 'prot'",)),
    ("sandbox = 'maybe'\n",                                     1,    ("'try', 'require' or 'off', got 'maybe'", "`try` logs a warning")),
    ("memory_cache_bytes = 'lots'\n",                                 1,    ("memory_cache_bytes: could not parse value and unit", "got 'lots'")),
    ("xyzzy = 1\n",                                             1,    ("unknown setting 'xyzzy'", "see docs/configuration.md for the names")),
    ("port = \n",                                               1,    ("not valid TOML: Invalid value", "strings need quotes")),
    ("port = 1\nport = 2\n",                                    2,    ("not valid TOML: Cannot overwrite a value",)),
    ("[fastly]\njpeg_qualty = 3\n",                             2,    ("unknown setting 'fastly.jpeg_qualty'", "did you mean jpeg_quality?")),
    ("[fastly]\nresize_filter = 'best'\n",                      2,    ("fastly.resize_filter: input should be 'nearest'", "got 'best'")),
    ("[fastly]\n\njpeg_quality = 500\n",                        3,    ("fastly.jpeg_quality: input should be less than or equal to 100, got 500", "see docs/configuration.md")),
    ("[fastly]\nupscale = true\nwebp_quality = 0\n",            3,    ("fastly.webp_quality: input should be greater than or equal to 1, got 0",)),
    ("port = 1\nfastly.jpeg_quality = 500\n",                   2,    ("fastly.jpeg_quality: ",)),
    ("[contentstack]\nbranches = []\nrate_limit = -1\n",        3,    ("contentstack.rate_limit: input should be greater than or equal to 0, got -1",)),
    ("[contentstack.rate_limits]\na = 1\nb = -1\n",             3,    ("contentstack.rate_limits.b: input should be greater than or equal to 0, got -1",)),
    ("[pixlab]\nmax_side = 9\nmax_source_bytes = 0\n",                  3,    ("pixlab.max_source_bytes: input should be greater than or equal to 1, got 0",)),
    ("[pixlab]\nmax_side = 9\nmax_source_pixels = 0\n",                 3,    ("pixlab.max_source_pixels: input should be",)),
    ("fastly = 3\n",                                            1,    ("fastly: input should be a dictionary",)),
    ("[site]\nname = 'a'\n",                                    1,    ("site: input should be a valid tuple", "sites, as `[[site]]` tables")),
    ("[[site]]\nhosts = ['a']\nsource = '.'\n",                 1,    ("site.0.dialect: field required", "`fastly`, `contentstack`")),
    ("[[site]]\nhosts = ['a']\ndialect = 'imgix'\n",            3,    ("site.0.dialect: expected fastly, contentstack", "got 'imgix'")),
    ("[[site]]\nhosts = ['a']\ndialect = 'fastly'\n",           1,    ("source: expected a folder, the URL of an origin or a bucket",)),
    (SITE + "prefx = '/x'\n",                                   5,    ("unknown setting 'site.0.prefx'", "did you mean prefix?")),
    (SITE + SITE.replace("a.ex", "b.ex") + "max_age_s = -1\n",  9,    ("site.1.max_age_s: input should be greater than or equal to 0, got -1",)),
    (SITE + "[site.settings]\nupscal = true\n",                 6,    ("unknown setting 'site.0.settings.upscal'", "did you mean upscale?")),
    (SITE + "[site.settings]\nupscale = 'yes please'\n",        6,    ("site.0.settings.upscale: input should be a valid boolean", "got 'yes please'")),
    (SITE + "settings = { jpeg_quality = 0 }\n",                5,    ("site.0.settings.jpeg_quality: input should be greater than or equal to 1, got 0",)),
    (SITE.replace("a.example", "a.example:8000"),               2,    ("a host name without scheme, port or path", "got 'a.example:8000'")),
    (SITE.replace("a.example", "https://a.example"),            2,    ("a host name without",)),
    (SITE + "prefix = 'shop'\n",                                5,    ("site.0.prefix: expected a path that begins with a slash, such as /shop, got 'shop'",)),
    (SITE + SITE.replace("a.example", "A.Example"),             5,    ("site.1: it gets no request, because site.0 also serves a.example/", "another host or prefix")),
    ("cors_origins = ['https://a.example', 'b.example']\n",      1,    ("cors_origins.1: expected an origin as browsers send it, such as https://example.com, got 'b.example'",)),
    ("cors_origins = ['https://a.example/']\n",                  1,    ("cors_origins.0: expected an origin",)),
    ("cors_origins = ['https://a.example/path']\n",              1,    ("cors_origins.0: expected an origin",)),
    ("cors_origins = ['https://a.example:443']\n",               1,    ("cors_origins.0: expected an origin",)),   # never sent
    (SITE + "cors_origins = ['http://*.a.example']\n",           5,    ("site.0.cors_origins.0: expected an origin",)),
    ("public_url = 'api.example.com'\n",                         1,    ("public_url: expected a scheme, a host and optionally a port and path", "got 'api.example.com'")),
    ("public_url = 'ftp://x'\n",                                 1,    ("public_url: expected a scheme",)),
    ("public_url = 'https://a.example/?q'\n",                    1,    ("public_url: expected a scheme",)),
    ("public_url = 'https://a.example/#q'\n",                    1,    ("public_url: expected a scheme",)),
    (PIXLAB + "max_age_s = 0\n",                                 1,    ("site.0: cors_origins, cross_origin_resource_policy, max_age_s: not settings of pixlab",)),
    (PIXLAB + "colors = 'p3'\n",                                 1,    ("site.0: colors, hdr: not settings of pixlab",)),
    (PIXLAB + "svg = 'rasterize'\n",                             1,    ("site.0: svg: not a setting of pixlab",)),
    (SITE + "colors = 'p4'\n",                                   5,    ("site.0.colors: ",)),
    (PIXLAB + "cors_origins = []\n",                             1,    ("site.0: cors_origins, cross_origin_resource_policy, max_age_s: ",)),
    (PIXLAB + "cross_origin_resource_policy = 'off'\n",                       1,    ("site.0: cors_origins, cross_origin_resource_policy, max_age_s: ",)),
    (SITE + "[site.presets]\ncard = ''\n'a b' = ''\n",          7,    ("site.0.presets.a b: expected a name of letters, digits and . _ ~ -", "got 'a b'")),
    (SITE + "presets = { 'größe' = '' }\n",                      5,    ("site.0.presets.größe: expected a name",)),
    ("signing_keys = ['short']\n",                              1,    ("signing_keys: expected a key of at least 32 bytes, got 5",)),
    (SITE.replace('"."', '"https://"'),                         4,    ("site.0.source: expected the URL of an origin",)),
    (SITE.replace('"."', '"https://me:pass@a.example"'),        4,    ("site.0.source: expected the URL of an origin",)),
    (SITE.replace('"."', '"https://a.example/x?y=1"'),          4,    ("site.0.source: expected the URL of an origin",)),
    (SITE.replace('"."', '"https://*.example"'),                4,    ("site.0.source: expected the URL of one origin, without *",)),
    ("queue = 3\n",                                             1,    ("unknown setting 'queue'", "it has been renamed: write queue_limit")),
    ("\nold_libraries = 'warn'\n",                              2,    ("old_libraries", "write allow_vulnerable_libraries")),
    (SITE + "widths = [1]\n",                                   5,    ("site.0.widths", "write allowed_widths")),
    ("[pixlab]\nside = 9\n",                                     2,    ("pixlab.side", "write max_side")),
    (SITE + "settings = { malformed = 'ignore' }\n",             5,    ("site.0.settings.malformed", "write on_malformed")),
    ("web_allow = []\nallow_private_hosts = []\n",              1,    ("web_allow is an alias of allow_private_hosts", "remove web_allow")),
]

CHECKED = [
    # the file                                                  line  words
    ("folder = 'no such'\n",                                    1,    ("folder: no such is not a folder", "name a folder of images")),
    (SITE.replace('"."', '"no such"'),                          4,    ("site.0.source: no such is not a folder", "https:// URL")),
    ("port = 1\nallow_private_hosts = ['nothing']\n",           2,    ("allow_private_hosts: expected host:port, got 'nothing'", "such as 10.0.0.7:8080")),
    ("pixlab_allowed_hosts = ['a b']\n",                        1,    ("pixlab_allowed_hosts: expected a host", "*.example.com")),
    ("trusted_proxies = ['x']\n",                               1,    ("trusted_proxies: ", "10.0.0.7 or 10.1.0.0/16")),
    ("port = 1\nredis_url = 'nonsense'\n",                       2,    ("redis_url: expected the URL of a Redis server", "redis://host:6379/0")),
    ("port = 1\ndatabase_url = 'nonsense'\n",                    2,    ("database_url: not a valid URL", "postgresql://")),
    ("port = 1\ndatabase_url = 'mysql://a/b'\n",                 2,    ("database_url: mysql is not supported", "postgresql://")),
    ("port = 1\nlibrary_store = 'b/p'\n",                        2,    ("library_store: ", "s3://bucket/prefix")),
    ("port = 1\nlibrary_store = 's3://b/p'\n",                   2,    ("library_store: the environment has no credentials for this store", "AWS_ACCESS_KEY_ID")),
    ("port = 1\npixlab_store = 'nonsense'\n",                    2,    ("pixlab_store: ", "s3://bucket/prefix")),
    ("port = 1\nhost = 'http://x'\n",                            2,    ("host: http://x is not an address of this machine", "write 127.0.0.1")),
    ("admin_token = 'short'\n",                                  1,    ("admin_token: expected at least 15 characters, got 5", "openssl rand")),
    ("production = true\nadmin_token = 'short'\n",              2,    ("admin_token: expected at least 32 characters, got 5", "openssl rand")),
    ("folder = '.'\nproduction = true\npixlab_allow_any_host = false\n",      2,    ("pixlab_key: expected at least 32 characters, got 0",)),
]
# fmt: on


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Path of the configuration file, in the working folder."""
    monkeypatch.chdir(tmp_path)
    for name in loader.environment_variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    return tmp_path / "cropmark.toml"


def read(file: Path, text: str, **more: object) -> LoadedSettings:
    file.write_text(text)
    return load_settings(file, **{"environ": {}, **more})  # type: ignore[arg-type]  # keywords vary by test


@pytest.mark.parametrize(("text", "line", "words"), INVALID)
def test_invalid_files(file: Path, text: str, line: int, words: tuple[str, ...]) -> None:
    with pytest.raises(InvalidConfiguration) as bad:
        read(file, text)
    (issue,) = bad.value.issues
    assert issue.location == f"{file}:{line}"
    assert all(word in str(issue) for word in words), str(issue)


@pytest.mark.parametrize(("text", "line", "words"), CHECKED)
def test_valid_files_that_cannot_work(file: Path, text: str, line: int, words: tuple[str, ...]) -> None:
    (issue,) = find_issues(read(file, text))
    assert issue.location == f"{file}:{line}"
    assert all(word in str(issue) for word in words), str(issue)
    assert "pass" not in str(issue)


def test_every_issue_is_reported(file: Path) -> None:
    with pytest.raises(InvalidConfiguration) as bad:
        read(
            file,
            "prot = 1\nport = 70000\n[fastly]\nx = 1\n",
            environ={"CROPMARK_QUUE": "3", "CROPMARK_QUEUE_LIMIT": "0"},
        )
    places = [issue.location for issue in bad.value.issues]
    at = str(file)
    assert places == [f"{at}:1", f"{at}:4", "environment CROPMARK_QUUE", f"{at}:2", "environment CROPMARK_QUEUE_LIMIT"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "CROPMARK_PROT",
            "80",
            ("environment CROPMARK_PROT: unknown variable", "did you mean CROPMARK_PORT?"),
        ),
        ("CROPMARK_PORT", "many", ("environment CROPMARK_PORT: port: input should be a valid integer", "got 'many'")),
        ("CROPMARK_FASTLY__UPSCALE", "perhaps", ("environment CROPMARK_FASTLY__UPSCALE: fastly.upscale",)),
        (
            "CROPMARK_SITE",
            "[{",
            ("environment CROPMARK_SITE: unknown variable", "sites are configured in the file"),
        ),
        (
            "CROPMARK_SITE__0__NAME",
            "a",
            ("CROPMARK_SITE__0__NAME: unknown variable", "sites are configured in"),
        ),
        ("CROPMARK_FASTLY", "[{", ("environment CROPMARK_FASTLY: unknown variable",)),
        ("cropmark_port", "many", ("environment cropmark_port: port: input should be a valid integer",)),
        ("CROPMARK_FASTLY__UPSCAL", "true", ("did you mean CROPMARK_FASTLY__UPSCALE?",)),
        ("CROPMARK_CONTENTSTACK__RATE_LIMITS", "blt1", ("contentstack.rate_limits.blt1: input should be", "got ''")),
        (
            "CROPMARK_CONTENTSTACK__RATE_LIMITS",
            "blt1=-1",
            ("environment CROPMARK_CONTENTSTACK__RATE_LIMITS: contentstack.rate_limits.blt1: ", "got '-1'"),
        ),
        (
            "CROPMARK_PIXLAB__MAX_SIDE",
            "0",
            ("environment CROPMARK_PIXLAB__MAX_SIDE: pixlab.max_side: input should be greater", "got '0'"),
        ),
    ],
)
def test_invalid_variables(file: Path, name: str, text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(InvalidConfiguration) as bad:
        read(file, "", environ={name: text})
    assert all(word in str(bad.value) for word in words), str(bad.value)


@pytest.mark.parametrize("section", [FastlySettings(webp_quality=0), PixLabSettings(max_side=0)])
def test_a_section_built_in_python_has_the_same_bounds(section: FastlySettings | PixLabSettings) -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Settings(**{section.__class__.__name__.removesuffix("Settings").lower(): section})  # type: ignore[arg-type]  # by name


def test_sites_cannot_be_set_by_a_variable() -> None:
    with pytest.raises(ValidationError, match="site"):
        Settings(environ={"CROPMARK_SITE": "[{"})  # type: ignore[call-arg]  # for tests, as configured() gives it


def test_an_invalid_option(file: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="--port: port: input should be less than"):
        read(file, "port = 80\n", overrides={"port": 70000})


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="the file does not exist"):
        load_settings(tmp_path / "none.toml", environ={})


# ------------------------------------------------------------------------------------------------ precedence and origins


def test_the_command_line_overrides_the_environment_which_overrides_the_file(file: Path) -> None:
    text = "port = 1\nqueue_limit = 1\nrenderers = 1\n[fastly]\nupscale = true\njpeg_type = 'progressive'\n"
    environ = {"CROPMARK_PORT": "2", "CROPMARK_QUEUE_LIMIT": "2", "CROPMARK_FASTLY__UPSCALE": "false"}
    found = read(file, text, environ=environ, overrides={"port": 3})
    settings = found.settings
    fastly = settings.section(FastlySettings)
    assert (settings.port, settings.queue_limit, settings.renderers, settings.host) == (3, 2, 1, "127.0.0.1")
    assert (fastly.upscale, fastly.jpeg_type) == (False, JpegType.PROGRESSIVE)
    origins = {origin.name: origin.origin for origin in found.origins}
    assert origins["port"] == "--port"
    assert origins["queue_limit"] == "CROPMARK_QUEUE_LIMIT"
    assert origins["renderers"] == f"{file}:3"
    assert origins["host"] == "default"
    assert origins["fastly.upscale"] == "CROPMARK_FASTLY__UPSCALE"
    assert origins["fastly.jpeg_type"] == f"{file}:6"


def test_lists_and_tables_in_variables(file: Path) -> None:
    """Comma-separated in variables, TOML lists and tables in the file."""
    environ = {"CROPMARK_CONTENTSTACK__ENVIRONMENTS": "live, stage", "CROPMARK_CONTENTSTACK__RATE_LIMITS": "a=5,b = 0"}
    loaded = read(file, "", environ=environ)
    text = '[contentstack]\nenvironments = ["live", "stage"]\nrate_limits = { a = 5, b = 0 }\n'
    assert loaded.settings == read(file, text, environ={}).settings
    assert loaded.settings.section(ContentstackSettings).rate_limits == {"a": 5, "b": 0}
    shown = {origin.name: origin.value for origin in loaded.origins}
    assert (shown["contentstack.environments"], shown["contentstack.rate_limits"]) == ("live, stage", "a=5, b=0")


@pytest.mark.parametrize("word", ["nearest", "bilinear", "bicubic", "lanczos2", "lanczos", "linear"])
def test_a_resize_filter_is_spelled_as_in_a_query(file: Path, word: str) -> None:
    loaded = read(file, f'[fastly]\nresize_filter = "{word}"\n').settings.section(FastlySettings)
    assert loaded.resize_filter is FILTERS[word]


def test_an_empty_variable_is_ignored(file: Path) -> None:
    found = read(file, "port = 1\n", environ={"CROPMARK_PORT": ""})
    assert found.settings.port == 1
    assert found.location(("port",)) == f"{file}:1"


def test_lists_in_variables_are_comma_separated(file: Path) -> None:
    found = read(file, "", environ={"CROPMARK_ALLOW_PRIVATE_HOSTS": "127.0.0.1:1, 127.0.0.1:2"})
    assert found.settings.allow_private_hosts == ("127.0.0.1:1", "127.0.0.1:2")


@pytest.mark.parametrize(("text", "environ"), [("web_allow = ['a:1']\n", {}), ("", {"CROPMARK_WEB_ALLOW": "a:1"})])
def test_an_alias_is_read_like_the_current_name(file: Path, text: str, environ: dict[str, str]) -> None:
    loaded = read(file, text, environ=environ)
    assert loaded.settings.allow_private_hosts == ("a:1",)
    assert loaded.location(("allow_private_hosts",)) == ("CROPMARK_WEB_ALLOW" if environ else f"{file}:1")


@pytest.mark.parametrize(("old", "new"), [(old, new) for old, new in RENAMED.items() if "." not in old])
def test_a_renamed_variable_gets_its_current_name(file: Path, old: str, new: str) -> None:
    assert new in environment_variables().values()
    with pytest.raises(InvalidConfiguration, match=f"write CROPMARK_{new.upper()}$"):
        read(file, "", environ={f"CROPMARK_{old.upper()}": "1"})


def test_variable_names_ignore_case(file: Path) -> None:
    found = read(file, "", environ={"Cropmark_Port": "7", "CROPMARK_PORT": ""})
    assert found.settings.port == 7
    assert found.location(("port",)) == "Cropmark_Port"


def test_the_default_file_is_in_the_working_folder(file: Path) -> None:
    file.write_text("port = 4321\n")
    assert load_settings(environ={}).settings.port == 4321


def test_hosts_and_prefixes_are_normalized(file: Path) -> None:
    (site,) = read(file, SITE.replace("a.example", "Img.Example") + "prefix = '/shop/'\n").settings.site
    assert (site.hosts, site.prefix) == (("img.example",), "/shop")
    (site,) = read(file, SITE.replace('"."', '"HTTPS://o.example/A"')).settings.site
    assert str(site.source) == "https://o.example/A"


@pytest.mark.parametrize("origin", ["*", "null", "https://Example.com", "http://[::1]:8000", "app://x"])
def test_origins(file: Path, origin: str) -> None:
    assert read(file, f"cors_origins = ['{origin}']\n").settings.cors_origins == (origin.lower(),)


@pytest.mark.parametrize("url", ["https://a.example", "http://127.0.0.1:8000/", "https://[::1]:1/cdn/x"])
def test_public_urls(file: Path, url: str) -> None:
    assert read(file, f"public_url = '{url}'\n").settings.public_url == url


# ------------------------------------------------------------------------------------------------ secrets

SECRET = "s3cr3t-" + "x" * 40


def test_secrets_are_masked(file: Path) -> None:
    text = f"admin_token = '{SECRET}'\nsigning_keys = ['{SECRET}']\nredis_url = 'redis://:{SECRET}@h'\n"
    found = read(file, text, environ={"CROPMARK_PIXLAB_KEY": SECRET})
    printed = {origin.name: origin.value for origin in found.origins}
    assert {printed[name] for name in ("admin_token", "signing_keys", "redis_url", "pixlab_key")} == {loader.MASK}
    assert not any(SECRET in value for value in printed.values())


def test_a_secret_may_be_a_reference(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's secrets are files, and their paths must not become the secrets."""
    (file.parent / "token").write_text(SECRET + "\n")
    monkeypatch.setenv("KEY_OF_IMAGES", SECRET)
    text = f"admin_token = 'file:{file.parent}/token'\nsigning_keys = ['env:KEY_OF_IMAGES', 'a:file:{file.parent}/token']\n"
    found = read(file, text, environ={"CROPMARK_PIXLAB_KEY": "env:KEY_OF_IMAGES"}).settings
    secrets = (found.admin_token, found.pixlab_key, *found.signing_keys)
    assert [secret and secret.get_secret_value() for secret in secrets] == [*[SECRET] * 3, f"a:{SECRET}"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("admin_token = 'file:/nowhere/token'\n", ("admin_token", "the file /nowhere/token cannot be read")),
        ("redis_url = 'env:NOT_SET'\n", ("redis_url", "the environment variable NOT_SET is not set")),
        ("signing_keys = ['file:/nowhere/key']\n", ("signing_keys", "the file /nowhere/key cannot be read")),
    ],
)
def test_a_reference_that_leads_to_nothing(file: Path, text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(InvalidConfiguration) as bad:
        read(file, text)
    for word in words:
        assert word in str(bad.value)


@pytest.mark.parametrize(
    "text",
    [
        f"admin_token = ['{SECRET}']\n",
        f"redis_url = ['{SECRET}']\n",
        f"admin_token = 'env:{SECRET}'\n",
        f"signing_keys = ['file:{SECRET}']\n",
        SITE + f"signing_keys = [['{SECRET}']]\n",
        SITE.replace('"."', f'"https://user:{SECRET}@o.example"'),
    ],
)
def test_an_error_never_shows_a_secret(file: Path, text: str) -> None:
    with pytest.raises(InvalidConfiguration) as bad:
        read(file, text)
    assert SECRET not in str(bad.value)


# ------------------------------------------------------------------------------------------------ the commands


def cropmark(*arguments: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, arguments, env={"COLUMNS": "250"})
    return found.exit_code, found.output + str(found.exception or "")


def test_check_of_a_valid_file(file: Path) -> None:
    file.write_text(SITE)
    code, printed = cropmark("config", "check", "--config", str(file))
    assert (code, printed.startswith("OK")) == (0, True)


@pytest.mark.parametrize("text", ["prot = 1\n", "allow_private_hosts = ['x']\n", SITE.replace('"."', '"none"')])
def test_check_prints_the_line_of_an_issue(file: Path, text: str) -> None:
    file.write_text(text)
    code, printed = cropmark("config", "check", "--config", str(file))
    assert code == 1
    assert f"{file}:" in printed


def test_show_prints_the_origin_of_each_value(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(f"port = 4321\nadmin_token = '{SECRET}'\n")
    monkeypatch.setenv("CROPMARK_QUEUE_LIMIT", "7")
    monkeypatch.chdir(file.parent)
    code, printed = cropmark("config", "show", "--config", file.name)
    assert code == 0
    lines = {line.split()[0]: line.split() for line in printed.splitlines() if line.strip()}
    assert lines["port"][1:] == ["4321", f"{file.name}:1"]
    assert lines["queue_limit"][1:] == ["7", "CROPMARK_QUEUE_LIMIT"]
    assert lines["admin_token"][1] == loader.MASK
    assert SECRET not in printed
