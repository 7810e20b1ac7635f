"""The vendor's management API over a library: values in, JSON out, no HTTP."""
