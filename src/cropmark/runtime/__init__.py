"""Services that all parts of a process use: logging, metrics, single flight, file I/O, CPU and memory limits."""
