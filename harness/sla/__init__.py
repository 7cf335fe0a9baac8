"""Data-layer SLAs: measures them, keeps what was measured, tells people, and holds work up."""
