"""Contentstack's Image Delivery API."""
