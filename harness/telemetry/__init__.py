"""Shows a run to others while it is at work: OpenTelemetry traces and Prometheus metrics."""
