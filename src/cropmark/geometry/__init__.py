"""A Plan met with the headers of its pictures: units become whole pixels. Pure."""
