"""Process-wide services: logging, metrics, single flight, file I/O, CPU and memory limits."""
