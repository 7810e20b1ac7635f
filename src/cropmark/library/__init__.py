"""Assets kept here."""
