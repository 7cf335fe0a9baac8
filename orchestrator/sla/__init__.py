"""Service levels of data: what was promised, what was observed, and what is announced."""
