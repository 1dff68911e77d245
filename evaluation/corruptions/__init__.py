"""Corruptions of pictures at five severities, and robustness computed from them."""
