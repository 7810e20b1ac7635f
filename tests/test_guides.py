"""The guides in docs/guides: their code is run, its output compared, and the URLs are requested from a server.

A `python` or `js` block is a program; the `text` block after it is its output, with `…` for any text. In Django's guide
the `python` block is the settings, and the `django` block a template; in Astro's guide the `js` block is the image
service, and the `astro` block a page. Wagtail's guide is like Django's; frameworks/wagtail_page.py makes the site.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from html import unescape
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.builders import make_images
from tests.clients.test_javascript import HERE as CLIENTS
from tests.clients.test_javascript import INSTALLED, NODE
from tests.requirements import require
from tests.web.server_process import Running, running

ROOT = Path(__file__).parent.parent
GUIDES = ROOT / "docs" / "guides"
FRAMEWORKS = Path(__file__).parent / "frameworks"
FRAMEWORKS_INSTALLED = NODE is not None and all(
    (FRAMEWORKS / "node_modules" / name).is_dir() for name in ("next", "astro")
)
WAGTAIL = ROOT / ".venv-wagtail" / "bin" / "python"
"""In an environment of its own, which `.ci/run` creates, because of its many dependencies."""
KEY = "2026a:an-example-key-of-at-least-32-bytes"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# fmt: off
RUN = [
    pytest.param("python", "python"),
    pytest.param("jinja", "python",        marks=require("jinja2", find_spec("jinja2") is not None)),
    pytest.param("django", "django",       marks=require("django", find_spec("django") is not None)),
    pytest.param("wagtail", "wagtail",     marks=require("wagtail", WAGTAIL.exists())),
    pytest.param("unpic", "js",            marks=require("node", INSTALLED)),
    pytest.param("nuxt", "js",             marks=require("node", INSTALLED)),
    pytest.param("nextjs", "next",         marks=require("frameworks", FRAMEWORKS_INSTALLED)),
    pytest.param("astro", "astro",         marks=require("frameworks", FRAMEWORKS_INSTALLED)),
    pytest.param("contentstack-sdk", "js", marks=require("node", INSTALLED)),
    pytest.param("kontent-sdk", "js",      marks=require("node", INSTALLED)),
]
# fmt: on
NOT_RUN = {"wordpress", "rails", "laravel"}
ASTRO = """
import { getImage as withConfig } from './node_modules/astro/dist/assets/internal.js'
globalThis.astroAsset = { imageService: service }
const getImage = (options) => withConfig(options, { service: { config: {} }, domains: [], remotePatterns: [] })
"""
"""The module `astro:assets`, for which Astro's build inserts the configured service and the configuration."""
DJANGO = """
import django
from django.conf import settings
from django.template import Context, Template
given = {}
exec(SETTINGS, given)
settings.configure(
    INSTALLED_APPS=given["INSTALLED_APPS"], CROPMARK=given["CROPMARK"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
)
django.setup()
print(Template(TEMPLATE).render(Context()).strip())
"""


def test_every_guide_is_run_or_says_that_it_was_not() -> None:
    run = {str(one.values[0]) for one in RUN}
    assert run | NOT_RUN == {path.stem for path in GUIDES.glob("*.md")} - {"index"}
    said = {path.stem for path in GUIDES.glob("*.md") if "\nThis page was not run" in path.read_text()}
    assert said == NOT_RUN
    index = (GUIDES / "index.md").read_text().partition("Not run")
    assert all(f"({name}.md)" in index[0] for name in run)
    assert all(f"({name}.md)" in index[2] for name in NOT_RUN)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def server(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(str(images), cache=tmp_path_factory.mktemp("guides") / "cache") as found:
        yield found


@pytest.mark.parametrize(("guide", "language"), RUN)
def test_the_code_of_a_guide(guide: str, language: str, server: Running, images: Path) -> None:
    blocks = [(kind, text) for kind, text in _BLOCK.findall((GUIDES / f"{guide}.md").read_text()) if kind != "ts"]
    by_kind = dict(blocks)
    output = _run_wagtail(by_kind, images) if language == "wagtail" else _run(language, by_kind)
    expected = by_kind["text"].strip()
    assert re.fullmatch(".*".join(map(re.escape, expected.split("…"))), output), output
    urls = re.findall(r"(?:https://img\.example)?(/(?:fastly|kontent|contentstack)/[^\s\"]+)", unescape(output))
    assert len(urls) >= len(expected.splitlines())
    for url in urls:
        path = re.sub(r"[?&](kid|sig)=.*", "", url.removesuffix(","))
        response = server.get(path)
        assert response.status_code == 200, (path, response.text)
        assert response.headers["content-type"].startswith("image/")


def _run(language: str, by_kind: dict[str, str]) -> str:
    """The output of a guide's program."""
    if language in ("js", "next", "astro"):
        # In the folder with the packages; the code is standard input, so that no file is written there.
        folder = CLIENTS if language == "js" else FRAMEWORKS
        command, program = [NODE or "node", "--input-type=module"], by_kind["js"]
        # The package does not export this module: users import it by its path, as bundlers permit.
        program = program.replace("'@contentstack/delivery-sdk/dist", "'./node_modules/@contentstack/delivery-sdk/dist")
        if language == "astro":
            page = by_kind["astro"].split("---\n")[1].replace("import { getImage } from 'astro:assets'\n", "")
            service = program.replace("export default", "const service =", 1)
            program = f"{service}{ASTRO}{page}console.log(image.srcSet.attribute)"
    else:
        program, folder = by_kind["python"], GUIDES
        if language == "django":
            program = f"SETTINGS, TEMPLATE = {by_kind['python']!r}, {by_kind['django']!r}\n{DJANGO}"
        command = [sys.executable, "-"]
    return _output(command, folder, program)


def _run_wagtail(by_kind: dict[str, str], media: Path) -> str:
    """The page of a site with this media folder. The folder with the code of cropmark stands for its installation."""
    script = str(FRAMEWORKS / "wagtail_page.py")
    command = [str(WAGTAIL), script, by_kind["python"], by_kind["django"], str(media)]
    return _output(command, media, environment={"PYTHONPATH": f"{ROOT}/src:{ROOT}"})


def _output(
    command: Sequence[str], folder: Path, program: str = "", environment: Mapping[str, str] | None = None
) -> str:
    """The output of a command without empty lines. Raises AssertionError if it fails."""
    whole = {**os.environ, **(environment or {})}
    reply = subprocess.run(
        command, input=program, capture_output=True, text=True, timeout=60, check=False, cwd=folder, env=whole
    )
    assert reply.returncode == 0, reply.stderr
    return re.sub(r"\n+", "\n", reply.stdout.strip())
