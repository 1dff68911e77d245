"""What a model learns from a batch: one file per loss."""
