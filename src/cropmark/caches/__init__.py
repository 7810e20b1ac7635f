"""Adapters of the Cache port: renditions in memory, on disk, and in tiers of both."""
