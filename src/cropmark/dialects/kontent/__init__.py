"""Kontent.ai's Image Transformation API."""
