"""From a stranger's ticket to a feature, and from a patch to what is said on GitHub."""
