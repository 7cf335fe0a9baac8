"""Tests of harness.sandboxes."""
