"""Resolves a Plan against the headers of its images: units become whole pixels. Pure."""
