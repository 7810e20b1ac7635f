"""Executes recipes with libvips. The only package that imports pyvips; it makes no decisions."""
