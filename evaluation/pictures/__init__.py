"""What benchmarks look at: one reader per layout on disk, each giving a list of pictures with its columns of labels."""
