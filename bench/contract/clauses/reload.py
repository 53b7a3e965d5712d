"""Saved and loaded in another process, the strategy gives the same outputs."""

from __future__ import annotations

import numpy as np

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import LEAST_CHANGE, MOST_ROUNDING, Evidence

_SHARE_OF_CHANGE = 0.01
"""Largest difference after loading, as a share of what training changed."""


def other_process(evidence: Evidence) -> str:
    """A process that only has the saved folder, moved since, gives the same scores and embeddings."""
    reloaded = evidence.reloaded.answers
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
    size = sum(path.stat().st_size for path in (evidence.moved / "saved").rglob("*") if path.is_file())
    return f"the same answers from {size:,} bytes in another process"


def within_folder(evidence: Evidence) -> str:
    """Loading, indexing and searching open no file outside of the saved folder, the base model and the code."""
    outside = evidence.reloaded.outside
    if outside:
        more = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
        raise Violation(f"opens {outside[0]}{more}, which lies outside of the folder that `save` was given")
    return "nothing outside of its folder is opened"


CLAUSE = Clause(
    "reload",
    (other_process, within_folder),
    "let `save` write everything that it adds into its folder, and `load` read it from there alone",
)
