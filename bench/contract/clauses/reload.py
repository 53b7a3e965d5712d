"""Clause 4: saved and loaded in another process, the strategy gives the same outputs."""

from __future__ import annotations

import numpy as np

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import LEAST_CHANGE, MOST_ROUNDING, Evidence
from bench.contract.subprocess_reload import ReloadRequest, save_tree

_SHARE_OF_CHANGE = 0.01
"""Largest difference after loading, as a share of what training changed."""


def other_process(evidence: Evidence) -> str:
    """A process that only has the saved folder gives the same scores and embeddings."""
    folder = evidence.scratch / "reload"
    save_tree(evidence.fitted.strategy, folder)
    reloaded = evidence.reload_process.answers(ReloadRequest(evidence.blueprint, evidence.settings, folder))
    if reloaded.shape != evidence.answers.shape:
        raise Violation(f"{reloaded.size} answers after loading, {evidence.answers.size} before")
    difference = float(np.abs(reloaded - evidence.answers).max())
    change = evidence.largest_change
    allowed = min(MOST_ROUNDING, max(LEAST_CHANGE, _SHARE_OF_CHANGE * (1.0 if change is None else change)))
    if not difference <= allowed:
        raise Violation(
            f"answers differ by up to {difference:.1e} after loading in another process (training changed them by "
            f"{change or 0:.1e}): `save` leaves something out, or `load` does not put it back"
        )
    size = sum(path.stat().st_size for path in (folder / "saved").rglob("*") if path.is_file())
    return f"the same answers from {size:,} bytes in another process"


CLAUSE = Clause(4, "reload", (other_process,))
