"""The benchmarks as rows of a table, with their class names and templates as data joined by key."""
