"""From texts to rankings: encoding (cached), indexes, search."""
