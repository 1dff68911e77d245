"""A checkpoint, whoever made it, as functions from pictures and sentences to features."""
