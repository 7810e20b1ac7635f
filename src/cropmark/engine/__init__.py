"""Recipes become pictures; the only importer of pyvips. It decides nothing."""
