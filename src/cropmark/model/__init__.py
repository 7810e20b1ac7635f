"""Basic types that all packages use: sizes, formats, problems, assets."""
