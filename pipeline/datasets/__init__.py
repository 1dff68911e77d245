"""Finished datasets: shards, and everything that is done to a dataset afterwards."""
