"""Sandboxes: providers of isolated workspaces, one module each."""
