"""Looking inside a model: its first filters, positions and attention; what it mistakes; how it orders pictures."""
