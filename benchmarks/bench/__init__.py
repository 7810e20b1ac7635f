"""Cropmark beside its peers: pictures to ask for, servers to ask, ways to ask, and what is written of it."""
