"""The clauses, one a file. A new observation is one more function in its clause's `CLAUSE`."""

from bench.contract.clause import Clause
from bench.contract.clauses import (
    batch,
    budget,
    detach,
    development,
    frozen,
    inference,
    inputs,
    lent,
    process,
    reload,
    repeat,
    trains,
    updates,
)

_ORDERED = (
    trains, frozen, lent, inputs, batch, reload, detach, budget, updates, inference, development, repeat, process,
)  # fmt: skip
CLAUSES: dict[str, Clause] = {module.CLAUSE.name: module.CLAUSE for module in _ORDERED}
"""Name -> clause, in the order in which they are run."""
