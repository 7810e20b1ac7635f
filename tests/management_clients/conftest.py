"""The fixtures of tests/library."""

from tests.library.conftest import library_server, shop

__all__ = ["library_server", "shop"]
