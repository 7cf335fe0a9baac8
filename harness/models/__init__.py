"""Models: adapters that answer a request with a message."""
