"""Hypothesis as all tests use it."""

from __future__ import annotations

from hypothesis import settings

# No deadline for one example: on a busy machine it would measure the machine.
settings.register_profile("cropmark", deadline=None)
settings.load_profile("cropmark")
