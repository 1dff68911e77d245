"""Query lists: how one is made, and which queries stand in a text."""
