"""Template tags for Django: the URL, the srcset and the img element of an image.

{% load cropmark %}
{% image_url "beach.jpg" width=300 %}
<img src="…" srcset="{% image_srcset "beach.jpg" crop="16:9" %}" sizes="50vw">
{% image_tag "beach.jpg" "The beach" sizes="50vw" crop="16:9" %}
"""

from __future__ import annotations

from django import template
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.html import format_html, format_html_join

from cropmark.integrations.image_urls import ImageUrls, read_widths
from cropmark.links import WIDTHS


def image_urls() -> ImageUrls:
    """The ImageUrls that the Django setting CROPMARK describes. Raises ImproperlyConfigured."""
    try:
        return ImageUrls(**settings.CROPMARK)
    except (AttributeError, TypeError) as error:
        raise ImproperlyConfigured(
            'CROPMARK: expected a dictionary such as {"base": "https://img.example/fastly"}'
        ) from error


def image_url(path: str, **parameters: object) -> str:
    """The URL of an image, with these parameters of the dialect."""
    return image_urls().url(path, **parameters)


def image_srcset(path: str, widths: object = WIDTHS, **parameters: object) -> str:
    """The value of a srcset attribute: a URL for each of the widths."""
    return image_urls().srcset(path, read_widths(widths), **parameters)


def image_tag(path: str, alt: str, sizes: str = "100vw", widths: object = WIDTHS, **parameters: object) -> str:
    """An img element with a srcset, from which the browser chooses the width that it needs."""
    found = image_urls().attributes(path, alt, sizes=sizes, widths=read_widths(widths), **parameters)
    return str(format_html("<img{}>", format_html_join("", ' {}="{}"', found.items())))


register = template.Library()
register.simple_tag(image_url)
register.simple_tag(image_srcset)
register.simple_tag(image_tag)
