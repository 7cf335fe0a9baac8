"""Turns an issue of a code host into a verified draft pull request."""
