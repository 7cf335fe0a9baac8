"""Health of one Linux server: readings from /proc, thresholds, a report and an HTTP service."""
