"""The URL dialects: a query becomes an Order, an outcome becomes the vendor's answer. Pure."""
