"""The speed of the harness and of the plain library, measured together and given as ratios."""
