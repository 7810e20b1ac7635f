"""The template libraries of the Django app."""
