"""Record: everything the harness writes down and must not lose."""
