"""Write what the search of the defaults found into a page: `python tools/defaults_table.py RECORD PAGE`.

RECORD is the folder of the search, `docs/defaults`, and PAGE is `docs/defaults.md`. The table goes between the lines
`<!-- search: begin -->` and `<!-- search: end -->` of the page.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report.markdown import put_between
from bench.store.studies import Study, studies

_COLUMNS = (
    "strategy", "trials", "default in the search", "nDCG@10", "best other trial", "difference", "standard error",
    "default since",
)  # fmt: skip
TRIALS = 4
"""Of each study, the default among them; fewer where a finite space holds no more."""


def is_whole(study: Study) -> bool:
    """Whether a study has all its trials. One that was cut short settles nothing."""
    size = math.prod(len(param["values"]) if "values" in param else math.inf for param in study.space.values())
    return len(study.trials) >= min(TRIALS, size)


def settled(study: Study) -> Mapping[str, Any]:
    """Return the defaults that follow from a study.

    They change where the best trial beats them by more than one standard error of the difference, paired by query.
    """
    best, gain = study.best, study.gain
    if best is None or gain is None or gain[0] <= gain[1] or not is_whole(study):
        return study.defaults
    return best.params


def table(found: Sequence[Study]) -> str:
    """Return a row a study as Markdown, those whose default changes first."""
    rows = [_row(study) for study in sorted(found, key=lambda each: (settled(each) == each.defaults, each.strategy))]
    lines = [_COLUMNS, tuple("---" for _ in _COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _row(study: Study) -> tuple[str, ...]:
    default, *others = [trial for trial in study.trials if trial.value is not None]
    best = max(others, key=lambda trial: trial.value or 0.0, default=default)
    difference, error = study.over_default(best) or (float("nan"), float("nan"))
    return (
        f"`{study.strategy}`",
        str(len(study.trials)),
        _words(study.defaults),
        f"{default.value:.4f}",
        _words(best.params),
        f"{difference:+.4f}",
        f"{error:.4f}",
        _outcome(study),
    )


def _outcome(study: Study) -> str:
    if not is_whole(study):
        return f"stands so far ({len(study.trials)} of {TRIALS} trials)"
    if settled(study) == study.defaults:
        return "stands"
    return _words(settled(study))


def _words(params: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in params.items()
    )


if __name__ == "__main__":
    record, page = map(Path, sys.argv[1:])
    put_between(page, "search", table(studies(record)))
