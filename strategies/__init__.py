"""The shipped strategies, one per file. The file stem is the strategy's name (`_` becomes `-`)."""

OWNER = "adaptbench"
"""Lets the registry tell this package from a folder of the same name that happens to come first on the path."""
