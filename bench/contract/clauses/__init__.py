"""The seven clauses, one a file. A new observation is one more function in its clause's `CLAUSE`."""

from bench.contract.clause import Clause
from bench.contract.clauses import batch, budget, detach, frozen, reload, repeat, trains

CLAUSES: dict[str, Clause] = {
    module.CLAUSE.name: module.CLAUSE for module in (trains, frozen, batch, reload, detach, budget, repeat)
}
"""Name -> clause, in the order in which they are run."""
