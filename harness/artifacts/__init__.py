"""Passes files from the machine that made them to the one that needs them, by their content."""
