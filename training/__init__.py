"""Manifest to Checkpoint: models, objectives, loader and the DeepSpeed engine."""
