"""Fastly's Image Optimizer."""
