"""Applications that the tests of the guides run."""
