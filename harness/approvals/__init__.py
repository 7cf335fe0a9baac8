"""Approvals: kept in one store, answered by command line, web inbox or Slack."""
