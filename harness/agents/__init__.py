"""Agents: programs that work on a feature inside a sandbox."""
