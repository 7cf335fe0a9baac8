"""What failures have in common, and whether telling of them helps."""
