"""Serves PixLab's endpoints over HTTP."""
