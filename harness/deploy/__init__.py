"""Deployment: from the merged branch to staging, and with an approval to production."""
