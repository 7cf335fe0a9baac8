"""The state of a run as a fold of its events, and what to do next."""
