"""Metrics, intervals, paired tests and calibration: pure functions of answers."""
