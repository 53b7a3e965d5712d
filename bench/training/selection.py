"""The development pool: a small, fixed retrieval task on which checkpoints are compared during training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from bench.data.dataset import Corpus, Qrels, TrainingData
from bench.records import PRIMARY_MEASURE
from bench.retrieval.ranking import Ranking

if TYPE_CHECKING:
    from bench.context import Context
    from bench.strategy import Strategy

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


def build_pool(data: TrainingData, context: Context) -> DevelopmentPool:
    """Build the pool of the development queries, at most `dev_queries` of them over `dev_docs` documents."""
    settings = context.training
    return pool_of(data.dev_queries, data.dev_qrels, data, context, settings.dev_queries, settings.dev_docs)


def training_pool(data: TrainingData, context: Context) -> DevelopmentPool:
    """Build a pool of half that size from training queries: what shows overfitting."""
    settings = context.training
    sizes = max(1, settings.dev_queries // 2), max(1, settings.dev_docs // 2)
    return pool_of(data.train_queries, data.train_qrels, data, context, *sizes)


def pool_of(
    queries: Mapping[str, str], qrels: Qrels, data: TrainingData, context: Context, max_queries: int, max_docs: int
) -> DevelopmentPool:
    """Build a pool: all relevant documents of the chosen queries, then hard negatives, then random documents.

    Hard negatives are BM25's and the base model's. The pool depends on the data and its seed alone, so that all
    strategies meet the same one.
    """
    rng = np.random.default_rng([data.seed, 11])
    chosen = sorted(str(query) for query in rng.permutation(sorted(qrels))[:max_queries])
    wanted = {query: queries[query] for query in chosen}
    relevant = {doc for query in chosen for doc, grade in qrels[query].items() if grade > 0}
    docs = dict.fromkeys(sorted(relevant))
    for doc in _hard(wanted, data.corpus, context):
        if len(docs) >= len(relevant) + (max_docs - len(relevant)) * 2 // 3:
            break
        docs[doc] = None
    for position in rng.permutation(len(data.corpus)):
        if len(docs) >= max_docs:
            break
        docs[data.corpus.ids[position]] = None
    return DevelopmentPool(wanted, {query: qrels[query] for query in chosen}, data.corpus.subset(list(docs)))


def _hard(queries: Mapping[str, str], corpus: Corpus, context: Context) -> Sequence[str]:
    """Return what BM25 and the base model rank high, all first ranks before all second ones, the two in turn."""
    from bench.baseline import BaseEncoder
    from bench.retrieval.lexical import build_lexical

    base = BaseEncoder(None, context)
    lexical = build_lexical(corpus).search(queries, _DEPTH)
    dense = base.search(queries, base.index(corpus), _DEPTH)
    columns = [[doc for doc, _ in ranking[query]] for query in queries for ranking in (lexical, dense)]
    return [doc for rank in zip_longest(*columns) for doc in rank if doc is not None]
