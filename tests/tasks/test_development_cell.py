"""The development task: development queries of every sample over the whole corpus, one row each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.budget import Budget
from bench.data.dataset import Corpus, Dataset, TrainingData
from bench.data.development import DevelopmentSample, DevelopmentSet
from bench.data.sample import sample_dataset
from bench.errors import NotApplicableError
from bench.evaluation.measures import evaluate
from bench.progress import silent
from bench.records import FitReport
from bench.retrieval.ranking import Ranking
from bench.strategy.base import Strategy
from bench.tasks.base import DEVELOPMENT, Measurements, TaskSettings
from bench.tasks.development import DevelopmentEvaluator


class Index:
    nbytes, seconds = 8, 0.5

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus


class Words(Strategy):
    """Ranks by the number of words that query and document share. It keeps the queries that it was asked."""

    name = "words"

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        return FitReport()

    def index(self, corpus: Corpus) -> Index:
        return Index(corpus)

    def search(self, queries: Mapping[str, str], index: Index, top_k: int) -> Ranking:
        self.asked = list(queries)
        docs = {doc: set(text.split()) for doc, text in zip(index.corpus.ids, index.corpus.texts, strict=True)}
        return Ranking.from_run(
            {
                query: {doc: float(len(words & set(text.split()))) for doc, words in docs.items()}
                for query, text in queries.items()
            }
        )

    def save(self, folder: Path) -> None: ...
    def load(self, folder: Path) -> None: ...


class Slow(Words):
    probe_queries = 3


class Stored(Words):
    serves = False
    held: tuple[str, ...] = ()

    def search(self, queries: Mapping[str, str], index: Index, top_k: int) -> Ranking:
        found = super().search(queries, index, top_k)
        return Ranking({query: found[query] if query in self.held else [] for query in queries})


@pytest.fixture
def dataset() -> Dataset:
    return sample_dataset()


def samples(dataset: Dataset) -> list[DevelopmentSample]:
    """Return two samples that share two queries."""
    qrels = dataset.qrels("dev")
    ids = sorted(qrels)
    parts = {0: ids[:5], 1: ids[3:8]}
    return [
        DevelopmentSample(seed, 40, {q: dataset.queries[q] for q in part}, {q: qrels[q] for q in part}, made=False)
        for seed, part in parts.items()
    ]


def measure(strategy: Strategy, dataset: Dataset) -> Measurements:
    settings = TaskSettings(measures=("ndcg@10", "recall@10"), role=DEVELOPMENT)
    judged = DevelopmentSet(dataset.info, dataset.corpus, dataset.groups, tuple(samples(dataset)))
    evaluator = DevelopmentEvaluator()
    scorer: Any = None  # a development cell asks it nothing
    observed = evaluator.observe(strategy, judged.unjudged(None), settings, scorer, silent)
    return evaluator.score(observed, judged, settings, tuple)


def strategy(kind: Any) -> Any:
    return kind(None, None)


def test_every_query_of_every_sample_is_scored_over_the_whole_corpus(dataset: Dataset) -> None:
    words = strategy(Words)
    measured = measure(words, dataset)
    rows = measured.per_query
    assert rows is not None
    assert list(rows.columns) == ["query", "group", "seen", "seed", "examples", "made", "ndcg@10", "recall@10"]
    assert rows.groupby("seed")["query"].nunique().to_dict() == {0: 5, 1: 5}
    assert set(rows["examples"]) == {40} and not rows["made"].any()
    assert len(words.asked) == len(set(words.asked)) == 8, "a query that both samples have is searched once"
    assert measured.n_queries == 8 and measured.n_docs == len(dataset.corpus)
    qrels = {query: dataset.qrels("dev")[query] for query in words.asked}
    ranking = words.search({query: dataset.queries[query] for query in qrels}, words.index(dataset.corpus), 100)
    expected = evaluate(ranking, qrels, ("ndcg@10",))
    values = dict(zip(expected.queries, expected["ndcg@10"], strict=True))
    assert all(row["ndcg@10"] == pytest.approx(values[row["query"]]) for _, row in rows.iterrows())
    assert measured.metrics["ndcg@10"] == pytest.approx(rows["ndcg@10"].mean())


def test_a_slow_strategy_is_asked_the_first_queries_of_each_sample(dataset: Dataset) -> None:
    rows = measure(strategy(Slow), dataset).per_query
    assert rows is not None
    first = [query for sample in samples(dataset) for query in list(sample.queries)[:3]]
    assert sorted(rows["query"]) == sorted(first)


def test_a_stored_ranking_is_scored_on_the_queries_that_it_holds(dataset: Dataset) -> None:
    stored = strategy(Stored)
    stored.held = tuple(sorted(dataset.qrels("dev"))[3:5])
    rows = measure(stored, dataset).per_query
    assert rows is not None
    assert sorted(rows["query"]) == sorted([*stored.held, *stored.held])
    stored.held = ()
    with pytest.raises(NotApplicableError, match="no ranking of a development query"):
        measure(stored, dataset)
