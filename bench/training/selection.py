"""The development pool: a small, fixed retrieval task on which checkpoints are compared during training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from bench.data.dataset import Corpus, Qrels, TrainingData
from bench.evaluation.measures import evaluate
from bench.records import PRIMARY_MEASURE
from bench.retrieval.index import VectorIndex
from bench.retrieval.lexical import build_lexical
from bench.retrieval.ranking import Ranking
from bench.strategy.protocols import Searcher
from bench.strategy.resources import Resources

Ranker = Callable[[Mapping[str, str]], Ranking]
_DEPTH = 20
_CUTOFF = 10


@dataclass(frozen=True)
class Pool:
    """Development queries and the documents they are searched in: relevant ones, hard negatives, random ones."""

    queries: Mapping[str, str]
    qrels: Qrels
    corpus: Corpus

    def scores(self, searcher: Searcher) -> np.ndarray:
        """Return nDCG@10 of each query (n,), in the order of the sorted query ids."""
        return self.scores_of(searcher.search(self.queries, searcher.index(self.corpus), _CUTOFF))

    def scores_of(self, ranking: Ranking) -> np.ndarray:
        """Return nDCG@10 of each query (n,) for an existing ranking."""
        return evaluate(ranking, self.qrels, [PRIMARY_MEASURE]).values[PRIMARY_MEASURE]


class DevelopmentPools:
    """Builds the pools of training data and keeps them, so that all fits of a process meet the same ones."""

    def __init__(self) -> None:
        self._built: list[tuple[TrainingData, Pool, Pool]] = []

    def development(self, data: TrainingData, resources: Resources) -> Pool:
        """Return the pool of development queries: at most `dev_queries` of them over `dev_docs` documents."""
        return self._pools(data, resources)[0]

    def training(self, data: TrainingData, resources: Resources) -> Pool:
        """Return the pool of training queries, of half the size. It shows overfitting."""
        return self._pools(data, resources)[1]

    def _pools(self, data: TrainingData, resources: Resources) -> tuple[Pool, Pool]:
        for known, development, training in self._built:
            if known is data:
                return development, training
        development, training = build_pools(data, resources)
        self._built.append((data, development, training))
        return development, training


def build_pools(data: TrainingData, resources: Resources) -> tuple[Pool, Pool]:
    """Return the pool of development queries and the pool of training queries.

    Both are built together, because indexing the corpus for their hard negatives takes seconds.
    """
    settings, rankers = resources.training, _rankers(data.corpus, resources)
    dev = pool_of(
        data.dev_queries, data.dev_qrels, data, resources, settings.dev_queries, settings.dev_docs, rankers=rankers
    )
    sizes = max(1, settings.dev_queries // 2), max(1, settings.dev_docs // 2)
    with resources.meter.excluded():
        train = pool_of(data.train_queries, data.train_qrels, data, resources, *sizes, rankers=rankers)
    return dev, train


def pool_of(
    queries: Mapping[str, str],
    qrels: Qrels,
    data: TrainingData,
    resources: Resources,
    max_queries: int,
    max_docs: int,
    *,
    rankers: Sequence[Ranker] | None = None,
) -> Pool:
    """Return a pool: all relevant documents of the chosen queries, then hard negatives, then random documents.

    BM25 and the base model give the hard negatives. The pool depends on the data and its seed alone, so that all
    strategies meet the same one. `rankers` find the hard negatives; None makes them.
    """
    rng = np.random.default_rng([data.seed, 11])
    chosen = sorted(str(query) for query in rng.permutation(sorted(qrels))[:max_queries])
    texts = {query: queries[query] for query in chosen}
    relevant = {doc for query in chosen for doc, grade in qrels[query].items() if grade > 0}
    docs = dict.fromkeys(sorted(relevant))
    for doc in _hard(texts, rankers or _rankers(data.corpus, resources)):
        if len(docs) >= len(relevant) + (max_docs - len(relevant)) * 2 // 3:
            break
        docs[doc] = None
    for position in rng.permutation(len(data.corpus)):
        if len(docs) >= max_docs:
            break
        docs[data.corpus.ids[position]] = None
    return Pool(texts, {query: qrels[query] for query in chosen}, data.corpus.subset(list(docs)))


def _rankers(corpus: Corpus, resources: Resources) -> Sequence[Ranker]:
    """Index a corpus for BM25 and for the base model, and return what ranks with them."""
    encoder, lexical = resources.encoder, build_lexical(corpus)
    vectors, seconds = encoder.documents(corpus.texts)
    index = VectorIndex(corpus.ids, vectors, seconds)

    def by_base_model(queries: Mapping[str, str]) -> Ranking:
        return index.search(list(queries), encoder.queries(list(queries.values()))[0], _DEPTH)

    return lambda queries: lexical.search(queries, _DEPTH), by_base_model


def _hard(queries: Mapping[str, str], rankers: Sequence[Ranker]) -> Sequence[str]:
    """Return the documents that the rankers put first: all first ranks, then all second ranks, the rankers in turn."""
    rankings = [rank(queries) for rank in rankers]
    columns = [[doc for doc, _ in ranking[query]] for query in queries for ranking in rankings]
    return [doc for rank in zip_longest(*columns) for doc in rank if doc is not None]


def paired_error(scores: np.ndarray, others: np.ndarray) -> float | None:
    """Return the standard error of the mean difference of two scorings of the same queries (n,); None for one query."""
    return float(np.std(scores - others, ddof=1) / math.sqrt(len(scores))) if len(scores) > 1 else None
