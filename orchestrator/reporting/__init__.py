"""What people and their tools are told of a run: reports, notices, costs, traces, metrics."""
