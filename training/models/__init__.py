"""The models, one short file each; parallelism, precision and DeepSpeed stay out of them."""
