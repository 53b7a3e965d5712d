"""The strategies that come with AdaptBench, one a file: the file stem is the name (`_` becomes `-`)."""

OWNER = "adaptbench"
"""Lets the registry tell this package from a folder of the same name that happens to come first on the path."""
