"""Compares cropmark with its peers: test images, servers, load generators, and the report."""
