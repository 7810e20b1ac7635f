"""Implementations of ports.Cache: renditions in memory, on disk, in an object store, and in several tiers."""
