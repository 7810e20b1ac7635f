# ruff: noqa: E501, PLC0415 - a row per line; each framework is imported only where it is installed
"""The template tags for Jinja and Django; a server then serves the URLs that they write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape
from importlib.util import find_spec

import pytest

from cropmark.integrations.image_urls import ImageUrls, read_widths
from tests.builders import make_images
from tests.requirements import require
from tests.web.server_process import Running, running

KEY = "2026a:" + "k" * 40

Render = Callable[[str, ImageUrls], str]


def _jinja(text: str, urls: ImageUrls) -> str:
    from jinja2 import Environment

    from cropmark.integrations import jinja

    environment = Environment(autoescape=True)
    jinja.install(environment, urls)
    return str(environment.from_string(re.sub(r"{% (\w+) (.*?) %}", r"{{ \1(\2) }}", text)).render(hostile='"><x>'))


def _django(text: str, urls: ImageUrls) -> str:
    import django
    from django.conf import settings
    from django.template import Context, Engine
    from django.test import override_settings

    if not settings.configured:
        settings.configure(INSTALLED_APPS=["cropmark.integrations.django"])
        django.setup()
    engine = Engine(libraries={"cropmark": "cropmark.integrations.django.templatetags.cropmark"})
    spaced = re.sub(r"{% (\w+) (.*?) %}", lambda m: f"{{% {m[1]} {m[2].replace(', ', ' ')} %}}", text)
    options = {"base": urls.base, "dialect": urls.dialect, "key": urls.key, "expires": urls.expires}
    with override_settings(CROPMARK=options):
        return str(engine.from_string("{% load cropmark %}" + spaced).render(Context({"hostile": '"><x>'})))


ENGINES = [
    pytest.param(_jinja, id="jinja", marks=require("jinja2", find_spec("jinja2") is not None)),
    pytest.param(_django, id="django", marks=require("django", find_spec("django") is not None)),
]
URLS = ImageUrls("https://img.example/fastly/")

# fmt: off
TEMPLATES = [
    # template, as in Jinja without its braces                     text, after HTML is decoded
    ('{% image_url "a b.jpg", width=300 %}',                       "https://img.example/fastly/a%20b.jpg?width=300"),
    ('{% image_url "/a.jpg" %}',                                   "https://img.example/fastly/a.jpg"),
    ('{% image_url "a.jpg", bg_color="ffcc00" %}',                 "https://img.example/fastly/a.jpg?bg-color=ffcc00"),
    ('{% image_url "a.jpg?x#y" %}',                                "https://img.example/fastly/a.jpg%3Fx%23y"),
    ('{% image_srcset "a.jpg", widths="90,180", crop="1:1" %}',
     "https://img.example/fastly/a.jpg?crop=1:1&width=90 90w, https://img.example/fastly/a.jpg?crop=1:1&width=180 180w"),
]
# fmt: on


@pytest.mark.parametrize("render", ENGINES)
@pytest.mark.parametrize(("text", "expected"), TEMPLATES)
def test_templates(render: Render, text: str, expected: str) -> None:
    assert unescape(render(text, URLS)) == expected


@pytest.mark.parametrize("render", ENGINES)
def test_an_img_element(render: Render) -> None:
    text = '{% image_tag "a.jpg", "A beach", sizes="50vw", widths="90,180,360", crop="1:1" %}'
    found = render(text, URLS)
    assert found.startswith('<img src="https://img.example/fastly/a.jpg?crop=1:1&amp;width=180" srcset="https://')
    assert found.endswith(' sizes="50vw" alt="A beach">')
    assert found.count("w, ") == 2


@pytest.mark.parametrize("render", ENGINES)
def test_texts_are_escaped(render: Render) -> None:
    found = render("{% image_tag hostile, hostile, sizes=hostile, format=hostile %}", URLS)
    assert "<x>" not in found
    assert found.count(">") == 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = make_images(tmp_path_factory.mktemp("pictures"))
    with running(
        str(folder),
        cache=tmp_path_factory.mktemp("tags") / "cache",
        environment={"CROPMARK_SIGNING_KEYS": KEY},
    ) as found:
        yield found


@pytest.mark.parametrize("render", ENGINES)
@pytest.mark.parametrize("dialect", ["fastly", "kontent"])
def test_a_server_with_signatures_serves_the_urls(render: Render, server: Running, dialect: str) -> None:
    urls = ImageUrls(f"{server.address}/{dialect}", dialect, KEY, "1h")
    found = unescape(render('{% image_tag "wide.jpg", "Wide", widths="40,80" %}', urls))
    paths = [url.removeprefix(server.address) for url in re.findall(r"https?://[^ \",]+", found)]
    assert len(paths) == 3
    assert [server.get(path).status_code for path in paths] == [200] * 3
    assert server.get(paths[0].partition("&sig")[0]).status_code == 403


def test_widths_of_templates() -> None:
    assert read_widths("320, 640") == (320, 640)
    assert read_widths(90) == (90,)
    assert read_widths([90, "180"]) == (90, 180)
    with pytest.raises(ValueError, match="expected widths"):
        read_widths(None)
    with pytest.raises(ValueError, match="invalid literal"):
        read_widths("wide")


@pytest.mark.skipif(find_spec("django") is None, reason="needs django, which is not installed")
def test_django_without_the_setting() -> None:
    from django.core.exceptions import ImproperlyConfigured

    _django("", URLS)  # configures Django, without CROPMARK
    from cropmark.integrations.django.templatetags.cropmark import image_urls

    with pytest.raises(ImproperlyConfigured, match="CROPMARK: expected a dictionary"):
        image_urls()


def test_the_key_is_not_printed() -> None:
    assert "kkkk" not in repr(ImageUrls("https://img.example", key=KEY))
