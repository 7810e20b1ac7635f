"""Serves the management API of Contentstack's dialect over HTTP."""
