"""From a file to searchable chunks, and back to nothing."""
