"""The commands for the library: its assets, and the keys to it."""
