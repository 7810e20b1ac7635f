"""A complete fleet on one machine: its parts, a mixed load, and the rules for its responses."""
