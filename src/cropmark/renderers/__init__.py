"""Processes around the engine: tasks in, bytes out."""
