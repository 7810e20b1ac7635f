"""Comparing two servers' responses."""
