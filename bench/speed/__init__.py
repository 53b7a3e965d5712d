"""The speed of the harness beside the plain library's, measured together and given as ratios."""
