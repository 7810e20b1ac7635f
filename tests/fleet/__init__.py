"""Tests of several servers that share a Redis."""
