"""Settings: their schema, loading, errors and checks for production."""
