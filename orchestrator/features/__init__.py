"""From feature_list.json to values, or to every problem in it at once."""
