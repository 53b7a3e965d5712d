"""The contract that every strategy keeps, as checks that run on any strategy.

A strategy that does nothing still gets a score, and the score looks plausible. The clauses find faults that a score
does not show. They observe the strategy and do not rely on its report:

    trains       as many parameters as declared, a gradient reaches each tensor, the outputs change
    frozen       the frozen part stays the base model, bit for bit
    lent         the base model that was lent, and the shared vector cache, stay as they were
    inputs       the strategy reads the same tokens of a text as its rivals
    batch        an embedding does not depend on batch mates, their order or padding
    reload       saved, moved and loaded in another process, the strategy gives the same outputs
    detach       with the attachment off, the base model is back (removable methods)
    budget       the budget is respected, the report states what was spent, and no work hides from the charge
    updates      parameters change by the counted training steps alone
    inference    indexing, searching and loading train nothing
    development  development pairs are no training data
    repeat       the same seed gives the same result, here and in another process; another seed gives another one
    process      functions, settings and threads of the process stay as they were, and so does the clock

`check` runs them in fp32, on a few dozen short texts and a few training steps. A real run observes a part of this, too:
optimiser steps, changes between steps, settings, the lent model, replaced functions, and training in `index` and
`search`. `docs/contract.md` says what no check can see.
"""

from bench.contract.blueprint import Blueprint
from bench.contract.checking import check
from bench.contract.clause import ClauseResult
from bench.contract.clauses import CLAUSES

__all__ = ["CLAUSES", "Blueprint", "ClauseResult", "check"]
