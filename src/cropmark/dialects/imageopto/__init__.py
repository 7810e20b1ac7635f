"""What the dialects of Fastly's Image Optimizer and of the services built on it share: readers, Steps, encodings."""
