"""What an agent must not be able to do."""
