"""Write the results of a search for defaults into a page: `python tools/defaults_table.py RECORD PAGE [NAME]`.

RECORD is the run folder of the search, such as `docs/defaults`, and PAGE is `docs/defaults.md`. The table goes between
the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->` of the page; NAME is `search` where it is not given. The
script prints the strategies whose winner lies at the edge of a range.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report.markdown import put_between
from bench.store.store import Store
from bench.store.studies import Study

_COLUMNS = (
    "strategy", "trials", "default in the search", "nDCG@10", "best other trial", "difference", "standard error",
    "default since", "winner at an edge",
)  # fmt: skip
TRIALS = 4
"""Trials of a complete study, the default included. A finite space may hold fewer."""


def is_complete(study: Study) -> bool:
    """Whether a study has all its trials. An interrupted study changes no default."""
    size = math.prod(len(param["values"]) if "values" in param else math.inf for param in study.space.values())
    return len(study.trials) >= min(TRIALS, size)


def new_defaults(study: Study) -> Mapping[str, Any]:
    """Return the defaults that follow from a study.

    They change if the best trial beats them by more than one standard error of the difference, paired by query.
    """
    best, gain = study.best, study.gain
    if best is None or gain is None or gain[0] <= gain[1] or not is_complete(study):
        return study.defaults
    return best.params


def at_an_edge(studies: Iterable[Study]) -> list[str]:
    """Return the strategies whose best trial is at an end of what was tried of a logarithmic range, sorted."""
    return sorted(
        study.strategy for study in studies if any(study.space[name]["kind"] == "LogUniform" for name in study.edges)
    )


def table(studies: Sequence[Study]) -> str:
    """Return a table with one row for each study as Markdown; studies that change a default come first."""
    ordered = sorted(studies, key=lambda study: (new_defaults(study) == study.defaults, study.strategy))
    rows = [_row(study) for study in ordered]
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
        ", ".join(f"{name}: {edge} tried" for name, edge in study.edges.items()) or "no",
    )


def _outcome(study: Study) -> str:
    if not is_complete(study):
        return f"unchanged so far ({len(study.trials)} of {TRIALS} trials)"
    if new_defaults(study) == study.defaults:
        return "unchanged"
    return _words(new_defaults(study))


def _words(params: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in params.items()
    )


if __name__ == "__main__":
    record, page = map(Path, sys.argv[1:3])
    searched = Store(record).studies()
    put_between(page, (sys.argv[3:] or ["search"])[0], table(searched))
    sys.stdout.write(f"winner at the edge of a range: {','.join(at_an_edge(searched)) or 'none'}\n")
