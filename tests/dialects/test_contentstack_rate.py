"""Contentstack: the rate limit that a request counts against."""

from __future__ import annotations

import pytest

from cropmark.dialects.contentstack.dialect import Contentstack
from cropmark.dialects.contentstack.settings import ContentstackSettings
from cropmark.dialects.dialect import ImageRequest

SETTINGS = ContentstackSettings(organization="shops", rate_limits={"blt0": 5, "blt9": 0})

# fmt: off
RATES = [
    # path                           its own limit
    ("v3/assets/blt0/a/f/owl.jpg",   ("shops blt0", 5)),
    ("v3/assets/blt9/a/f/owl.jpg",   ("shops blt9", 0)),    # none at all
    ("v3/assets/blt1/a/f/owl.jpg",   None),                 # the site's
    ("v3/assets/blt00/a/f/owl.jpg",  None),
    ("x/v3/assets/blt0/a/owl.jpg",   None),
    ("blt0/owl.jpg",                 None),
]
# fmt: on


@pytest.mark.parametrize(("path", "rate"), RATES)
def test_a_stack_may_have_a_limit_of_its_own(path: str, rate: tuple[str, int] | None) -> None:
    request = ImageRequest(path, "environment=production&width=90", {"accept": ""})
    assert Contentstack(SETTINGS).order(request).delivery.rate == rate
    assert Contentstack().order(request).delivery.rate is None
