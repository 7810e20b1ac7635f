"""Implementations of ports.Source: local folders, the web, buckets, uploads, and combinations of them."""
