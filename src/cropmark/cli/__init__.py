"""The command `cropmark` and its subcommands."""
