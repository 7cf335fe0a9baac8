"""Learning as effects: the store of patterns, its index, reflection, and their use in a run."""
