"""The parsed request: an Order and its Plan, in the caller's units, before any image is known."""
