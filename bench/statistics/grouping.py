"""Which queries rise and fall together, so that chance is reckoned over their groups instead of over queries.

Groups that a dataset declares (the subject of a passage, the module that a question is about) do so. Templates, which
are found in the wording of questions, do not: they are for averages (`bench.data.templates`).
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.data.templates import is_template

FEWEST = 20
"""With fewer groups than these, tests over groups reject too often (Cameron, Gelbach & Miller 2008, table 2)."""


def dependent(labels: Sequence[str | None]) -> list[str] | None:
    """Return the labels that tests over groups take; None where queries are to be taken one by one.

    Args:
        labels: the group of each query, shape (n,). A query without one is a group of its own.
    """
    named = {label for label in labels if isinstance(label, str)}
    if not FEWEST <= len(named) < len(labels) or any(map(is_template, named)):
        return None
    return [
        f"group {label}" if isinstance(label, str) else f"query {position}" for position, label in enumerate(labels)
    ]
