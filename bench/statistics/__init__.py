"""Is a difference real, and how small a difference could these data show? Arrays in, numbers out."""
