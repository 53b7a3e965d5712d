"""Which queries depend on each other, so that tests resample their groups instead of single queries.

Groups that a dataset declares (the subject of a passage, the module of a question) count as dependent. Templates, which
are found in the wording of questions, do not; they serve macro-averages only (`bench.data.templates`).
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.data.templates import is_template

FEWEST = 20
"""Tests over fewer groups than this reject too often (Cameron, Gelbach & Miller 2008, table 2)."""


def dependent(labels: Sequence[str | None]) -> list[str] | None:
    """Return the groups that tests use, or None where they treat queries as independent.

    Args:
        labels: the group of each query, shape (n,). A query without a label is a group of its own.
    """
    named = {label for label in labels if isinstance(label, str)}
    if not FEWEST <= len(named) < len(labels) or any(map(is_template, named)):
        return None
    return [
        f"group {label}" if isinstance(label, str) else f"query {position}" for position, label in enumerate(labels)
    ]
