"""Hostile bytes to a stored picture, its hashes and statistics. Runs inside the sandbox."""
