"""Measures per query: nDCG, MRR, MAP, recall and precision as trec_eval computes them, and those of ir_measures.

All measures use trec_eval's order: by score as a 32-bit float, then by document id, both descending. Two scores that
differ only beyond 32 bits are a tie. The order is settled here. Libraries receive positions instead of scores, so that
no library breaks a tie in its own way.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from bench.data.dataset import Qrels
from bench.errors import BenchError, DataError, unknown
from bench.records import MEASURES
from bench.retrieval.ranking import Hits, Ranking

if TYPE_CHECKING:
    import pandas as pd

_FAMILIES = {"ndcg": "ndcg_cut", "mrr": "recip_rank", "map": "map_cut", "recall": "recall", "precision": "P"}
"""Our name of a measure with a cut-off k -> trec_eval's name."""
_DISPLAYED = {
    "ndcg": "nDCG", "mrr": "MRR", "map": "MAP", "recall": "Recall", "precision": "Precision", "spearman": "Spearman",
    "answer_recall": "Answer recall",
}  # fmt: skip
_ALIASES = {"rr": "mrr", "ap": "map", "r": "recall", "p": "precision"}
JUDGED = "Judged@10"
"""The share of the first 10 results that have a judgement, relevant or not (ir_measures)."""
ANSWER_RECALL = "answer_recall"
"""The share of queries with an answer among the first k documents (`bench.evaluation.answers`)."""
_KEY = re.compile(r"([a-z]+)@([1-9][0-9]*)")


@dataclass(frozen=True)
class Measure:
    """A measure that `evaluate` computes. `key` names it in records and tables."""

    key: str
    family: str = ""
    """`ndcg`, `mrr`, `map`, `recall` or `precision`; empty where ir_measures computes the measure."""
    k: int = 0
    """The cut-off: the number of ranks that count."""

    @property
    def trec(self) -> str:
        """trec_eval's name of the value (`recip_rank` has no cut-off there)."""
        name = _FAMILIES[self.family]
        return name if self.family == "mrr" else f"{name}_{self.k}"


_BLOCK_QUERIES = 4096
"""Queries that are scored together. The scorers copy rankings into dictionaries."""
_DIGITS = 10
"""Digits that a cut-off may not have: no ranking is as long."""


def parse_measure(name: str) -> Measure:
    """Return the measure of this name: one of ours (`ndcg@10`, `RR@10`, in any case) or one of ir_measures.

    Names of ir_measures (`Bpref`, `RBP(p=0.8)`, `nDCG(dcg='exp-log2')@10`) keep that library's spelling.

    Raises:
        BenchError: the name is unknown, ir_measures lacks the package that computes the measure, or it is answer
            recall, which needs texts.
    """
    if name.strip().lower().startswith(ANSWER_RECALL):
        raise BenchError(f"{name}: answer recall needs no naming: it is measured wherever a dataset has answers")
    match = _KEY.fullmatch(name.strip().lower())
    if match is not None:
        family = _ALIASES.get(match[1], match[1])
        if family in _FAMILIES and match[2].isascii() and len(match[2]) < _DIGITS:
            return Measure(f"{family}@{match[2]}", family, int(match[2]))
    return Measure(str(_foreign(name)))


def _foreign(name: str) -> Any:
    """Return the `ir_measures.Measure` of this name, after checking that it can be computed here."""
    import ir_measures
    from ir_measures.measures import registry

    try:
        measure = ir_measures.parse_measure(name.strip())
        computable = ir_measures.DefaultPipeline.supports(measure)
    except (SyntaxError, RecursionError, MemoryError) as error:  # what Python's parser raises, MemoryError for nesting
        raise unknown("measure", name[:60], [*MEASURES, *registry]) from error
    except (NameError, ValueError, TypeError, KeyError, AssertionError, AttributeError, LookupError) as error:
        if name.split("@")[0].split("(")[0].strip() in registry:
            raise BenchError(f"measure {name!r}: {error}") from error
        raise unknown("measure", name, [*MEASURES, *registry]) from error
    if not computable:
        missing = "; ".join(
            f"{provider.NAME}: {provider.install_instructions()}"
            for provider in ir_measures.DefaultPipeline.providers
            if not provider.is_available()
        )
        raise BenchError(
            f"measure {name!r} needs a package that is not installed. One of these may provide it: {missing}"
        )
    return measure


def measure_name(key: str) -> str:
    """Return a measure as papers write it: `nDCG@10`, `Recall@100`, `Spearman`."""
    family, at, cut = key.partition("@")
    return _DISPLAYED.get(family, family) + at + cut


@dataclass(frozen=True)
class PerQuery:
    """The values of each measure for each judged query.

    `queries` is sorted; `values[measure]` has shape (n,), in the same order.
    """

    queries: tuple[str, ...]
    values: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.queries)

    @cached_property
    def positions(self) -> dict[str, int]:
        """Query id -> its position."""
        return {query: position for position, query in enumerate(self.queries)}

    def __getitem__(self, measure: str) -> np.ndarray:
        """Return the values of a measure, shape (n,).

        Raises:
            BenchError: it was not computed.
        """
        if measure not in self.values:
            raise unknown("measure", measure, self.values)
        return self.values[measure]

    def mean(self, measure: str, among: Collection[str] | None = None) -> float:
        """Return the mean over all queries with a value, or over those in `among`; NaN where there are none."""
        values = self[measure] if among is None else self[measure][self._mask(among)]
        values = values[~np.isnan(values)]
        return float(values.mean()) if len(values) else float("nan")

    def means(self, among: Collection[str] | None = None) -> dict[str, float]:
        """Return the mean of every measure (see `mean`)."""
        return {measure: self.mean(measure, among) for measure in self.values}

    def among(self, queries: Collection[str]) -> PerQuery:
        """Return the values of those queries that are in `queries`."""
        mask = self._mask(queries)
        kept = tuple(query for query, keep in zip(self.queries, mask, strict=True) if keep)
        return PerQuery(kept, {measure: values[mask] for measure, values in self.values.items()})

    def _mask(self, among: Collection[str]) -> np.ndarray:
        chosen = among if isinstance(among, (set, frozenset, dict)) else frozenset(among)
        return np.fromiter((query in chosen for query in self.queries), dtype=bool, count=len(self.queries))

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a column `query` and one for each measure."""
        import pandas as pd

        return pd.DataFrame({"query": list(self.queries), **self.values})

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Self:
        """Return the values in a table that `to_frame` made, with its rows in any order.

        Raises:
            DataError: the table has no column `query`, or a query occurs twice.
        """
        if "query" not in frame.columns:
            raise DataError("per-query values have no column 'query'")
        queries = [str(query) for query in frame["query"]]
        if len(set(queries)) != len(queries):
            raise DataError("a query occurs twice in per-query values")
        order = sorted(range(len(queries)), key=queries.__getitem__)
        columns = [column for column in frame.columns if column != "query"]
        return cls(
            tuple(queries[position] for position in order),
            {str(column): frame[column].to_numpy(dtype=float)[order] for column in columns},
        )


def evaluate(
    ranking: Ranking, qrels: Qrels, measures: Sequence[str] = MEASURES, drop_same_id: bool = False
) -> PerQuery:
    """Return the scores of a ranking against judgements.

    Every query in `qrels` counts: a query without results or without a relevant document scores 0. Queries without
    judgements are left out. A document without a judgement is not relevant. The gain of nDCG is the grade itself.

    Args:
        ranking: the hits of each query, in any order; they are put into trec_eval's order (see above).
        qrels: query id -> document id -> grade; a grade above 0 is relevant.
        measures: names that `parse_measure` reads; the result is keyed by `Measure.key`.
        drop_same_id: whether to drop a document with the query's own id before any cut-off.

    Raises:
        BenchError: a measure is unknown.
        DataError: no query is judged, a score is not a number, or a query has a document twice.
    """
    if not qrels:
        raise DataError("there are no judged queries to score")
    parsed = [parse_measure(name) for name in measures]
    queries = tuple(sorted(qrels))
    if drop_same_id:
        ranking = ranking.without_same_id()
    blocks = [
        _block(parsed, queries[begin : begin + _BLOCK_QUERIES], ranking, qrels)
        for begin in range(0, len(queries), _BLOCK_QUERIES)
    ]
    values = {measure.key: np.concatenate([block[measure.key] for block in blocks]) for measure in parsed}
    return PerQuery(queries, values)


def _block(
    measures: Sequence[Measure], queries: Sequence[str], ranking: Ranking, qrels: Qrels
) -> dict[str, np.ndarray]:
    """Return key -> values of some queries, shape (n,). A value of a query does not depend on the other queries."""
    run = {query: _positions(query, ranking.hits[query]) for query in queries if ranking.hits.get(query)}
    judged = {query: {doc: int(grade) for doc, grade in qrels[query].items()} for query in queries}
    values = _by_trec_eval([m for m in measures if m.family], queries, judged, run)
    return values | _by_ir_measures([m for m in measures if not m.family], queries, judged, run)


def _positions(query: str, hits: Hits) -> dict[str, float]:
    """Return document -> a score that falls by one with each position in trec_eval's order, so that none is tied."""
    docs = [doc for doc, _ in hits]
    with np.errstate(over="ignore"):
        scores = np.array([score for _, score in hits], dtype=np.float64).astype(np.float32)
    if np.isnan(scores).any():
        raise DataError(f"query {query!r}: a score is not a number")
    if len(set(docs)) != len(docs):
        raise DataError(f"query {query!r}: a document is ranked twice")
    if not (scores[1:] < scores[:-1]).all():
        docs = [doc for _, doc in sorted(zip(scores.tolist(), docs, strict=True), reverse=True)]
    return {doc: float(len(docs) - position) for position, doc in enumerate(docs)}


def _by_trec_eval(
    measures: Sequence[Measure],
    queries: Sequence[str],
    judged: dict[str, dict[str, int]],
    run: dict[str, dict[str, float]],
) -> dict[str, np.ndarray]:
    """Return key -> values, shape (n,). MRR@k is the reciprocal rank if that is at least 1/k, else 0."""
    import pytrec_eval

    values = {measure.key: np.zeros(len(queries)) for measure in measures}
    if not measures:
        return values
    names = {"recip_rank" if m.family == "mrr" else f"{_FAMILIES[m.family]}.{m.k}" for m in measures}
    scored = pytrec_eval.RelevanceEvaluator(judged, names).evaluate(run)
    for position, query in enumerate(queries):
        if query not in scored:
            continue
        for measure in measures:
            value = scored[query][measure.trec]
            if measure.family == "mrr" and value * measure.k < 1 - 1e-9:
                value = 0.0
            values[measure.key][position] = value
    return values


def _by_ir_measures(
    measures: Sequence[Measure],
    queries: Sequence[str],
    judged: dict[str, dict[str, int]],
    run: dict[str, dict[str, float]],
) -> dict[str, np.ndarray]:
    """Return key -> values, shape (n,); a query that ir_measures leaves out gets the measure's default."""
    if not measures:
        return {}
    import ir_measures

    foreign = {_foreign(measure.key): measure.key for measure in measures}
    values = {key: np.full(len(queries), measure.DEFAULT, dtype=float) for measure, key in foreign.items()}
    # Some backends of ir_measures are programs that read files. They need numbers as queries and ids without spaces.
    numbered_run, numbered_qrels = {}, {}
    for number, query in enumerate(queries, start=1):
        found, grades = run.get(query, {}), judged[query]
        names = {doc: f"d{position}" for position, doc in enumerate({**found, **grades})}
        numbered_qrels[str(number)] = {names[doc]: grade for doc, grade in grades.items()}
        if found:
            numbered_run[str(number)] = {names[doc]: score for doc, score in found.items()}
    for metric in ir_measures.iter_calc(list(foreign), numbered_qrels, numbered_run):
        if metric.query_id.isdigit() and 0 < int(metric.query_id) <= len(queries):
            values[foreign[metric.measure]][int(metric.query_id) - 1] = metric.value
    return values
