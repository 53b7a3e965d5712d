"""From texts to rankings: cached encoding, indexes and search."""
