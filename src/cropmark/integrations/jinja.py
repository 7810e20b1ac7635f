"""Functions for Jinja templates.

>>> install(environment, ImageUrls("https://img.example/fastly"))

    {{ image_url("beach.jpg", width=300) }}
    <img src="…" srcset="{{ image_srcset("beach.jpg", crop="16:9") }}" sizes="50vw">
    {{ image_tag("beach.jpg", "The beach", sizes="50vw", crop="16:9") }}
"""

from __future__ import annotations

from jinja2 import Environment
from markupsafe import Markup, escape

from cropmark.integrations.image_urls import ImageUrls, read_widths
from cropmark.links import WIDTHS


def install(environment: Environment, urls: ImageUrls) -> None:
    """Add the functions `image_url`, `image_srcset` and `image_tag` to the globals of the environment."""

    def image_srcset(path: str, widths: object = WIDTHS, **parameters: object) -> str:
        return urls.srcset(path, read_widths(widths), **parameters)

    def image_tag(
        path: str, alt: str, *, sizes: str = "100vw", widths: object = WIDTHS, **parameters: object
    ) -> Markup:
        found = urls.attributes(path, alt, sizes=sizes, widths=read_widths(widths), **parameters)
        return Markup("<img{}>").format(
            Markup("").join(Markup(' {}="{}"').format(escape(name), value) for name, value in found.items())
        )

    environment.globals.update(image_url=urls.url, image_srcset=image_srcset, image_tag=image_tag)
