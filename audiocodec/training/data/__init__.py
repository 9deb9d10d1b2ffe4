"""The audio of a run: which files, decoded once, and cut into random segments."""
