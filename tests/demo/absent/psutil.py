"""Stands in the way of a package that a development environment may have and no sandbox has."""

raise ModuleNotFoundError(f"No module named {__name__!r}", name=__name__)
