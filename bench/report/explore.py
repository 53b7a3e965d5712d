"""What the HTML page can be asked for: any measure in any stratum, and single queries with what was ranked for them.

Plain values, ready for JSON. Intervals here are for looking around: each stands alone, unadjusted, and the tests that
count are those of the significance section.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.records import PRIMARY_MEASURE
from bench.report.comparison import STRATA, Comparison
from bench.report.findings import Analysis, difference, measure_name
from bench.report.load import Run
from bench.report.text import clean, to_plain
from bench.report.texts import Texts
from bench.retrieval.ranking import Ranking
from bench.store.store import RANKING

QUERIES = 200
"""Single queries a comparison that the page holds: those on which the strategies differ most."""
TOP = 5
"""Documents a query and strategy that the page holds."""
SNIPPET = 320
"""Characters of a document that the page holds."""


def explore(run: Run, analysis: Analysis, texts: bool = True) -> list[dict[str, Any]]:
    """Return one object a comparison with results.

    Args:
        run: the run.
        analysis: its findings.
        texts: whether the page may hold texts of the data (queries, the beginnings of documents).
    """
    found = []
    for comparison in run.comparisons:
        if comparison.scored:
            source = analysis.texts(comparison) if texts else Texts(reason="texts were not asked for")
            found.append(
                {
                    "name": comparison.name,
                    "title": to_plain(analysis.title(comparison)),
                    "baseline": comparison.baseline,
                    "headline": comparison.headline,
                    "strategies": comparison.scored,
                    "n": {stratum: comparison.n(stratum) for stratum in STRATA if comparison.n(stratum)},
                    "measures": [{"key": key, "name": measure_name(key)} for key in comparison.measures],
                    "table": _table(comparison),
                    "single": _single(comparison, source),
                }
            )
    return found


def _table(comparison: Comparison) -> dict[str, dict[str, list[list[float | None]]]]:
    """Measure -> stratum -> for each strategy [mean, difference from the baseline, low, high]."""
    table: dict[str, dict[str, list[list[float | None]]]] = {}
    for measure in comparison.measures:
        for stratum in STRATA:
            if not comparison.n(stratum):
                continue
            rows: list[list[float | None]] = []
            for label in comparison.scored:
                row: list[float | None] = [_rounded(comparison.mean(label, measure, stratum)), None, None, None]
                if (
                    label != comparison.baseline
                    and comparison.baseline in comparison.scored
                    and comparison.n(stratum) > 1
                ):
                    found = difference(comparison, label, comparison.mask(stratum), measure)
                    row[1:] = [_rounded(found.mean), *map(_rounded, found.interval())]
                rows.append(row)
            table.setdefault(measure, {})[stratum] = rows
    return table


def _single(comparison: Comparison, source: Texts) -> dict[str, Any]:
    """Return the queries on which strategies differ most: scores, first documents, what was relevant."""
    means = np.array([comparison.scores(label).mean(axis=0) for label in comparison.scored])
    spread = means.max(axis=0) - means.min(axis=0)
    chosen = sorted(np.argsort(-spread, kind="stable")[:QUERIES].tolist())
    rankings = [_ranking(comparison, label) for label in comparison.scored]
    dataset = source.dataset
    qrels: Mapping[str, Mapping[str, int]] = dataset.qrels(comparison.split) if dataset is not None else {}
    docs: dict[str, int] = {}
    queries = []
    for position in chosen:
        query = comparison.queries[position]
        relevant = {doc: grade for doc, grade in qrels.get(query, {}).items() if grade > 0}
        hits = [None if ranking is None else ranking.hits.get(query, []) for ranking in rankings]
        entry: dict[str, Any] = {
            "id": query,
            "text": clean(dataset.queries.get(query, "")) if dataset is not None else "",
            "seen": bool(comparison.seen[position]),
            "scores": [_rounded(float(value)) for value in means[:, position]],
            "top": [
                None if ranked is None else [docs.setdefault(doc, len(docs)) for doc, _ in ranked[:TOP]]
                for ranked in hits
            ],
        }
        if comparison.groups is not None:
            entry["group"] = clean(comparison.groups[position])
        if relevant:
            entry["relevant"] = [[docs.setdefault(doc, len(docs)), grade] for doc, grade in sorted(relevant.items())]
            entry["first"] = [
                next((rank for rank, (doc, _) in enumerate(ranked or [], start=1) if doc in relevant), None)
                for ranked in hits
            ]
        queries.append(entry)
    return {
        "measure": measure_name(PRIMARY_MEASURE),
        "of": comparison.n(),
        "reason": clean(source.reason),
        "seeds": [
            None if seed == -1 else seed
            for seed in (comparison.candidates[label].seeds[0] for label in comparison.scored)
        ],
        "queries": queries,
        "docs": [[doc, _snippet(dataset, doc)] for doc in docs],
    }


def _ranking(comparison: Comparison, label: str) -> Ranking | None:
    """Return what a strategy ranked with its first seed; None where its records were kept without rankings."""
    cell = comparison.candidates[label].usable[0]
    return comparison.store.ranking(cell.cell) if RANKING in cell.files else None


def _snippet(dataset: Any, doc: str) -> str:
    """The beginning of a document; empty where its text is not at hand."""
    if dataset is None or doc not in dataset.corpus.positions:
        return ""
    text = clean(dataset.corpus.text_of(doc)[: 2 * SNIPPET])
    return text if len(text) <= SNIPPET else text[:SNIPPET].rsplit(" ", 1)[0] + " …"


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
