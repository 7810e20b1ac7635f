"""Kontent.ai's Image Transformation API: a query becomes an Order, and never an error."""
