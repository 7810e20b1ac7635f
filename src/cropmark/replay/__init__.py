"""Compares the responses of two servers, and requests many URLs to warm a server's caches."""
