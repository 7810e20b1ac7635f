"""Builds the server from its configuration, and starts, reloads and stops it."""
