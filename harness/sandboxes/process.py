"""The `process` provider: no isolation at all, for machines that cannot have it, by name only."""
