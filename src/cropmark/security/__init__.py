"""URL signatures and rate limits."""
