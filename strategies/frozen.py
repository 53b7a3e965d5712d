"""The base model as it is: the baseline, and often the right answer."""

from bench.baseline import BaseEncoder


class Frozen(BaseEncoder):
    """Retrieval with the base model, untouched."""

    name = "frozen"
    summary = "the general model, untouched"
