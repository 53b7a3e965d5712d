"""The data behind the HTML page's controls: any measure in any stratum, and single queries with their rankings.

All values are plain and ready for JSON. Intervals here are for exploration: each stands alone, without correction. The
section on significance holds the tests that decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.data.dataset import Dataset
from bench.evaluation.measures import measure_name
from bench.report.analysis import Analysis
from bench.report.comparison import STRATA, Comparison
from bench.report.findings import difference
from bench.report.text import clean, to_plain
from bench.report.texts import Texts
from bench.retrieval.ranking import Ranking
from bench.store.store import RANKING

QUERIES = 200
"""Single queries per comparison in the page: those on which the strategies differ most."""
TOP = 5
"""Documents per query and strategy in the page."""
SNIPPET = 320
"""Characters per document in the page."""


def explore(analysis: Analysis, texts: bool = True) -> list[dict[str, Any]]:
    """Return one object per comparison with results.

    Args:
        analysis: the findings of the run.
        texts: whether the page may contain texts of the data (queries, the beginnings of documents).
    """
    return [
        {
            "name": comparison.name,
            "title": to_plain(analysis.title(comparison)),
            "baseline": comparison.baseline,
            "headline": comparison.headline,
            "primary": comparison.primary,
            "strategies": comparison.scored,
            "n": {stratum: comparison.n(stratum) for stratum in STRATA if comparison.n(stratum)},
            "measures": [{"key": key, "name": measure_name(key)} for key in comparison.measures],
            "table": _table(comparison),
            "single": _single(comparison, analysis.texts(comparison) if texts else Texts(reason="texts were excluded")),
        }
        for comparison in analysis.run.comparisons
        if comparison.scored
    ]


def _table(comparison: Comparison) -> dict[str, dict[str, list[list[float | None]]]]:
    """Return measure -> stratum -> [mean, difference from the baseline, low, high] of each strategy."""
    table: dict[str, dict[str, list[list[float | None]]]] = {}
    for measure in comparison.measures:
        for stratum in STRATA:
            if not comparison.n(stratum):
                continue
            rows: list[list[float | None]] = []
            for label in comparison.scored:
                row: list[float | None] = [_rounded(comparison.mean(label, measure, stratum)), None, None, None]
                has_baseline = label != comparison.baseline and comparison.baseline in comparison.scored
                if has_baseline and comparison.n(stratum) > 1:
                    known = difference(comparison, label, comparison.mask(stratum), measure)
                    row[1:] = [_rounded(known.mean), *map(_rounded, known.interval())]
                rows.append(row)
            table.setdefault(measure, {})[stratum] = rows
    return table


def _single(comparison: Comparison, texts: Texts) -> dict[str, Any]:
    """Return the queries on which strategies differ most, with scores, first documents and relevant documents."""
    means = np.array([comparison.scores(label).mean(axis=0) for label in comparison.scored])
    spread = means.max(axis=0) - means.min(axis=0)
    positions = sorted(np.argsort(-spread, kind="stable")[:QUERIES].tolist())
    rankings = [_ranking(comparison, label) for label in comparison.scored]
    dataset = texts.dataset
    qrels: Mapping[str, Mapping[str, int]] = dataset.qrels(comparison.split) if dataset is not None else {}
    docs: dict[str, int] = {}
    queries = []
    for position in positions:
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
        "measure": measure_name(comparison.primary),
        "of": comparison.n(),
        "reason": clean(texts.reason),
        "queries": queries,
        "docs": [[doc, _snippet(dataset, doc)] for doc in docs],
    }


def _ranking(comparison: Comparison, label: str) -> Ranking | None:
    """Return the ranking of a strategy's first seed; None where the records do not contain it."""
    cell = comparison.candidates[label].usable[0]
    return comparison.store.ranking(cell.cell) if RANKING in cell.files else None


def _snippet(dataset: Dataset | None, doc: str) -> str:
    """Return the beginning of a document, or an empty string without its text."""
    if dataset is None or doc not in dataset.corpus.positions:
        return ""
    text = clean(dataset.corpus.text_of(doc)[: 2 * SNIPPET])
    return text if len(text) <= SNIPPET else text[:SNIPPET].rsplit(" ", 1)[0] + " …"


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)
