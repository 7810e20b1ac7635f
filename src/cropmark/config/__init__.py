"""The settings: their definitions, loading, errors, and checks for production."""
