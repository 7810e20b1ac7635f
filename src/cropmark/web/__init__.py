"""Serves images, pages and APIs over HTTP."""
