"""The page of wagtail_page.py."""

from __future__ import annotations

from django.db import models
from wagtail.images.models import Image
from wagtail.models import Page


class HomePage(Page):  # type: ignore[misc]  # Wagtail has no types
    """A page with a photo."""

    photo = models.ForeignKey(Image, models.PROTECT)
