"""The development pool: a small, fixed retrieval task on which checkpoints are compared during training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from bench.data.dataset import Corpus, Qrels, TrainingData
from bench.records import PRIMARY_MEASURE
from bench.retrieval.ranking import Ranking

if TYPE_CHECKING:
    from bench.strategy.base import Strategy
    from bench.strategy.resources import Resources

Ranker = Callable[[Mapping[str, str]], Ranking]
_DEPTH = 20
_CUTOFF = 10


@dataclass(frozen=True)
class DevelopmentPool:
    """Development queries and the documents they are searched in: relevant ones, hard negatives, random ones."""

    queries: Mapping[str, str]
    qrels: Qrels
    corpus: Corpus

    def scores(self, strategy: Strategy) -> np.ndarray:
        """Return nDCG@10 of each query (n,), in the order of the sorted query ids."""
        index = strategy.index(self.corpus)
        return self.scores_of(strategy.search(self.queries, index, _CUTOFF))

    def scores_of(self, ranking: Ranking) -> np.ndarray:
        """Return nDCG@10 of each query (n,) for a ranking that is already there."""
        from bench.evaluation.measures import evaluate

        return evaluate(ranking, self.qrels, [PRIMARY_MEASURE]).values[PRIMARY_MEASURE]


def build_pools(data: TrainingData, resources: Resources) -> tuple[DevelopmentPool, DevelopmentPool]:
    """Build the development pool, and one of half its size from training queries: what shows overfitting.

    The pool of development queries has at most `dev_queries` of them over `dev_docs` documents. Both are built at once,
    as indexing the corpus for their hard negatives takes seconds; the second is not charged.
    """
    settings, rankers = resources.training, _rankers(data.corpus, resources)
    dev = pool_of(
        data.dev_queries, data.dev_qrels, data, resources, settings.dev_queries, settings.dev_docs, rankers=rankers
    )
    sizes = max(1, settings.dev_queries // 2), max(1, settings.dev_docs // 2)
    with resources.meter.excluded():
        train = pool_of(data.train_queries, data.train_qrels, data, resources, *sizes, rankers=rankers)
    return dev, train


def training_pool(data: TrainingData, resources: Resources) -> DevelopmentPool:
    """Return the pool of training queries that was built with the development pool."""
    return resources.pools(data)[1]


def pool_of(
    queries: Mapping[str, str],
    qrels: Qrels,
    data: TrainingData,
    resources: Resources,
    max_queries: int,
    max_docs: int,
    *,
    rankers: Sequence[Ranker] | None = None,
) -> DevelopmentPool:
    """Build a pool: all relevant documents of the chosen queries, then hard negatives, then random documents.

    Hard negatives are BM25's and the base model's. The pool depends on the data and its seed alone, so that all
    strategies meet the same one. `rankers` find the hard negatives; None makes them.
    """
    rng = np.random.default_rng([data.seed, 11])
    chosen = sorted(str(query) for query in rng.permutation(sorted(qrels))[:max_queries])
    wanted = {query: queries[query] for query in chosen}
    relevant = {doc for query in chosen for doc, grade in qrels[query].items() if grade > 0}
    docs = dict.fromkeys(sorted(relevant))
    for doc in _hard(wanted, rankers or _rankers(data.corpus, resources)):
        if len(docs) >= len(relevant) + (max_docs - len(relevant)) * 2 // 3:
            break
        docs[doc] = None
    for position in rng.permutation(len(data.corpus)):
        if len(docs) >= max_docs:
            break
        docs[data.corpus.ids[position]] = None
    return DevelopmentPool(wanted, {query: qrels[query] for query in chosen}, data.corpus.subset(list(docs)))


def _rankers(corpus: Corpus, resources: Resources) -> Sequence[Ranker]:
    """Index a corpus for BM25 and for the base model."""
    from bench.encoders.base import BaseEncoder
    from bench.retrieval.lexical import build_lexical

    base, lexical = BaseEncoder(None, resources), build_lexical(corpus)
    index = base.index(corpus)
    return lambda queries: lexical.search(queries, _DEPTH), lambda queries: base.search(queries, index, _DEPTH)


def _hard(queries: Mapping[str, str], rankers: Sequence[Ranker]) -> Sequence[str]:
    """Return what the rankers put first, all first ranks before all second ones, the rankers in turn."""
    rankings = [rank(queries) for rank in rankers]
    columns = [[doc for doc, _ in ranking[query]] for query in queries for ranking in rankings]
    return [doc for rank in zip_longest(*columns) for doc in rank if doc is not None]
