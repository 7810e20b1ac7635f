"""Adapters of the Source port: local folders, the web, uploads, and combinations of them."""
