"""Contentstack's Image Delivery API: query → Order, outcome → its headers, Problem → its JSON."""
