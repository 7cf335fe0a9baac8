"""Verification: what the harness itself observes about a patch."""
