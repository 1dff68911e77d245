"""Evaluation pictures in training data: found, measured, removed or marked."""
