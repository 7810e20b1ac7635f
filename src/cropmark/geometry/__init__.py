"""Resolves a Plan against the headers of its images: the caller's units become whole pixels. Pure."""
