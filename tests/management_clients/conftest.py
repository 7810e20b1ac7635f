"""The library and the server of the other tests of the library."""

from tests.library.conftest import library_server, shop

__all__ = ["library_server", "shop"]
