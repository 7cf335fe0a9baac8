"""From a goal to documents: who writes next, what is wrong with it, and when it is done."""
