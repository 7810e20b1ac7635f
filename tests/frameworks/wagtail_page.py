"""Prints a page of a Wagtail site with the settings and the template of docs/guides/wagtail.md.

    PYTHONPATH=src:. .venv-wagtail/bin/python tests/frameworks/wagtail_page.py SETTINGS TEMPLATE MEDIA

The settings and the template are texts. MEDIA is the media folder; its wide.jpg is uploaded as the photo of the page.
"""

# ruff: noqa: E402 - models are imported after django.setup()
from __future__ import annotations

import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.files.images import ImageFile

SETTINGS, TEMPLATE, MEDIA = sys.argv[1:]
APPS = ("users", "images", "documents", "search", "admin")
DJANGO = ("auth", "contenttypes", "messages", "sessions", "staticfiles")
LABELS = ("home", "wagtailcore", "taggit", *(f"wagtail{app}" for app in APPS), "wagtaildocs", *DJANGO)

given: dict[str, object] = {
    "INSTALLED_APPS": [
        "tests.frameworks.home",
        *(f"wagtail.{app}" for app in APPS),
        "wagtail",
        "modelcluster",
        "taggit",
        *(f"django.contrib.{app}" for app in DJANGO),
    ]
}
exec(SETTINGS, given)
settings.configure(
    INSTALLED_APPS=given["INSTALLED_APPS"],
    CROPMARK=given["CROPMARK"],
    MEDIA_ROOT=MEDIA,
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    MIGRATION_MODULES=dict.fromkeys(LABELS),  # the tables are made of the models, which takes a fifth of the time
    MIDDLEWARE=[],
    ALLOWED_HOSTS=["testserver"],
    SECRET_KEY="of a test",
    STATIC_URL="/static/",
    WAGTAIL_SITE_NAME="Pictures",
    WAGTAILADMIN_BASE_URL="http://testserver",
    WAGTAILSEARCH_BACKENDS={"default": {"BACKEND": "wagtail.search.backends.database", "AUTO_UPDATE": False}},
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"loaders": [("django.template.loaders.locmem.Loader", {"home/home_page.html": TEMPLATE})]},
        }
    ],
)
django.setup()

from django.core.management import call_command
from django.test import Client
from django.urls import include, path
from wagtail import urls
from wagtail.images.models import Image
from wagtail.models import Collection, Locale, Page, Site

from tests.frameworks.home.models import HomePage

urlpatterns = [path("", include(urls))]


def main() -> None:
    call_command("migrate", run_syncdb=True, verbosity=0)
    Locale.objects.create(language_code="en")
    Collection.add_root(name="Root")
    with Path(MEDIA, "wide.jpg").open("rb") as file:
        photo = Image.objects.create(title="A wide picture", file=ImageFile(file, name="wide.jpg"))
    page = Page.add_root(title="Root").add_child(instance=HomePage(title="Home", photo=photo))
    Site.objects.create(hostname="testserver", root_page=page, is_default_site=True)
    response = Client().get("/")
    assert response.status_code == 200, response.status_code
    print(response.content.decode())


main()
