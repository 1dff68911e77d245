"""Checkpoint to Report: tasks, protocols, and a confidence interval on every number."""
