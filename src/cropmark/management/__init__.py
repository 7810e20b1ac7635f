"""Contentstack's management API for the library, without HTTP: takes parsed requests, returns JSON values."""
