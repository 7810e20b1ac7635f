"""Runs the engine in sandboxed worker processes."""
