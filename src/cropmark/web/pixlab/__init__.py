"""PixLab's endpoints over HTTP."""
