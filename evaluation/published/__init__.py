"""Scores that others published, and what ours say beside them."""
