"""Basic types used by all packages: sizes, formats, problems, assets."""
