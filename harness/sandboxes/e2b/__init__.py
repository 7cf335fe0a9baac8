"""The `e2b` provider: sandboxes in E2B's cloud, through its SDK."""
