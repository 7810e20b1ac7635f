"""The server process: wiring, sites, start, reload and stop."""
