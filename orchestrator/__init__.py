"""Decides: pure functions over frozen values; no file, process, network, clock or random number."""
