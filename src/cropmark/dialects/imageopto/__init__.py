"""Readers, Steps and encodings of Fastly's Image Optimizer, for the dialects of services that run it."""
