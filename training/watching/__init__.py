"""What a training tells about itself: speed, MFU, waiting, memory; a step again."""
