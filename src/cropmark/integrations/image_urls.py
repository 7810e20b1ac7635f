"""Builds the URLs of a site's images for template tags, and signs them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from cropmark.links import WIDTH_PARAMETERS, WIDTHS, sign, srcset, with_query

_PATH_SAFE = "/:,;@!$*()-._~"


@dataclass(frozen=True, slots=True)
class ImageUrls:
    """Builds the URLs of the images of one site.

    `base` is the URL of the site on the image server, such as `https://img.example/fastly`. The methods take parameters
    of the dialect. An underscore in a parameter's name becomes a hyphen, so `bg_color` is `bg-color`. `key`, `expires`
    and `key_id` are passed to sign().
    """

    base: str
    dialect: str = "fastly"
    key: str | Sequence[str] | None = field(default=None, repr=False)
    expires: str | int | None = None
    key_id: str | None = None

    def url(self, path: str, **parameters: object) -> str:
        """The URL of an image, for example with `url("summer/beach.jpg", width=300)`."""
        url = self._unsigned(path, parameters)
        return url if self.key is None else sign(url, self.key, expires=self.expires, key_id=self.key_id)

    def srcset(self, path: str, widths: Iterable[int] = WIDTHS, **parameters: object) -> str:
        """The value of a srcset attribute: a URL for each of the widths."""
        return srcset(
            self._unsigned(path, parameters),
            widths,
            dialect=self.dialect,
            key=self.key,
            expires=self.expires,
            key_id=self.key_id,
        )

    def attributes(
        self, path: str, alt: str, *, sizes: str = "100vw", widths: Iterable[int] = WIDTHS, **parameters: object
    ) -> dict[str, str]:
        """The attributes of an img element: src, srcset, sizes and alt. The browser chooses a width from `srcset`.

        `src` is for old browsers that do not read `srcset`.
        """
        ordered = sorted(set(widths))
        middle = {WIDTH_PARAMETERS[self.dialect]: ordered[len(ordered) // 2]} if ordered else {}
        return {
            "src": self.url(path, **parameters, **middle),
            "srcset": self.srcset(path, ordered, **parameters),
            "sizes": sizes,
            "alt": alt,
        }

    def _unsigned(self, path: str, parameters: dict[str, object]) -> str:
        encoded = quote(path.removeprefix("/"), safe=_PATH_SAFE)
        named = {name.replace("_", "-"): value for name, value in parameters.items()}
        return with_query(f"{self.base.rstrip('/')}/{encoded}", named)


def read_widths(value: object) -> tuple[int, ...]:
    """The widths that a template gives: numbers, or a text such as `320,640`. Raises ValueError."""
    if isinstance(value, str):
        return tuple(int(word) for word in value.replace(",", " ").split())
    if isinstance(value, int):
        return (value,)
    if isinstance(value, Iterable):
        return tuple(int(one) for one in value)
    raise ValueError(f"expected widths such as 320,640, got {value!r}")
