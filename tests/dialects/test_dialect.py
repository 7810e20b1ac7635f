"""The request that a dialect receives: raw, below the mount of its site."""

import pytest

from cropmark.dialects.dialect import ImageRequest

# fmt: off
ENCODED = [
    # request                                           encoded path
    (ImageRequest("a b.jpg", raw_path="a%20b.jpg"),     "a%20b.jpg"),
    (ImageRequest("a/b.jpg", raw_path="a%2Fb.jpg"),     "a%2Fb.jpg"),    # decoded, it would be another path
    (ImageRequest("", raw_path=""),                     ""),
    (ImageRequest("a b/\udcff.jpg"),                    "a%20b/%FF.jpg"),  # not from HTTP: encoded again
]
MOUNTS = [
    # request                                                      URL of the mount
    (ImageRequest("a", base="/shop", host_url="https://i.example"), "https://i.example/shop"),
    (ImageRequest("a", host_url="http://i.example:8000"),          "http://i.example:8000"),
    (ImageRequest("a", base="/shop"),                              "/shop"),
]
# fmt: on


@pytest.mark.parametrize(("request_", "expected"), ENCODED)
def test_encoded_path(request_: ImageRequest, expected: str) -> None:
    assert request_.encoded_path == expected


@pytest.mark.parametrize(("request_", "expected"), MOUNTS)
def test_mount_url(request_: ImageRequest, expected: str) -> None:
    assert request_.mount_url == expected
