"""The contract that every strategy keeps, as checks that can be run on anybody's.

A method that quietly does nothing still gets a score, and the score looks plausible. The seven clauses find what a
score does not show:

    trains   not a no-op: as many parameters as declared, a gradient reaches each family of them, the result moves
    frozen   what is not trainable stays bit for bit the base model
    batch    an embedding does not depend on batch mates or padding
    reload   saved, and loaded in another process, it gives the same results
    detach   with its attachment switched off, the base model is back (removable attachments)
    budget   the budget is respected, and what was spent is what is reported
    repeat   the same seed and a budget of steps give the same result

`check` runs them in fp32, on a few dozen short texts and a few training steps.
"""

from bench.contract.checking import CLAUSES, check
from bench.contract.finding import Finding
from bench.contract.subject import Subject

__all__ = ["CLAUSES", "Finding", "Subject", "check"]
