"""Which pairs say the same as another: by bytes, by look, by caption, by embedding, and against a finished dataset."""
