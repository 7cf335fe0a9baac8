"""The course of a deployment, and of the rejection of one."""
