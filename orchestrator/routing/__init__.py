"""The rules, chances and fallbacks behind the choice of a model."""
