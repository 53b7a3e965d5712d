"""The contract that every strategy keeps, as checks that run on any strategy.

A strategy that does nothing still gets a score, and the score looks plausible. The seven clauses find what a score does
not show:

    trains   as many parameters as declared, a gradient reaches each family of them, the outputs change
    frozen   the frozen part stays the base model, bit for bit
    batch    an embedding does not depend on batch mates or padding
    reload   saved and loaded in another process, the strategy gives the same outputs
    detach   with the attachment off, the base model is back (removable methods)
    budget   the budget is respected, and the report states what was spent
    repeat   the same seed and a budget of steps give the same result

`check` runs them in fp32, on a few dozen short texts and a few training steps.
"""

from bench.contract.blueprint import Blueprint
from bench.contract.checking import check
from bench.contract.clause import Finding
from bench.contract.clauses import CLAUSES

__all__ = ["CLAUSES", "Blueprint", "Finding", "check"]
