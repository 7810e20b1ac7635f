"""Signed URLs and rate limits."""
