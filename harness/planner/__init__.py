"""From a goal to a feature list: roles write documents, checks and people review them."""
