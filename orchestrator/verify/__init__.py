"""What an exam is made of, what it protects, and what attempts can be compared by."""
