"""Hard negatives: documents that BM25, the base model or the model at work ranks high and no label calls relevant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.data.dataset import Pair, TrainingData
from bench.retrieval.index import VectorIndex
from bench.retrieval.lexical import build_lexical
from bench.strategy.protocols import Searcher
from bench.strategy.resources import Resources

SOURCES = ("base", "bm25", "model")
"""What may rank the corpus: the base model, BM25, or the model that is trained."""
MARGIN = 0.95
"""A document scoring above this share of the positive's score may be an unlabelled positive (Moreira et al., 2024)."""
_DEPTH = 50
_CHECKED = 4
"""Number of candidates a negative that a cross-encoder reads."""

PairScores = Callable[[Sequence[tuple[str, str]]], np.ndarray]
"""Returns a score (n,) of 0 to 1 for each query and document text."""


@dataclass(frozen=True)
class Mining:
    """How negatives are mined. The defaults are those of the training setting `hard_negatives`."""

    count: int
    """Negatives for each pair."""
    source: str = "base"
    """One of `SOURCES`."""
    margin: float = MARGIN
    """A document must score below this share of the positive's score; 0 takes every document that no label names."""


def with_hard_negatives(data: TrainingData, resources: Resources) -> Sequence[Pair]:
    """Return the training pairs, with mined negatives where the settings ask for some and the pairs bring none."""
    count = resources.training.hard_negatives
    if not count or any(pair.negatives for pair in data.pairs):
        return data.pairs
    return with_negatives(data, Mining(count), resources)


def with_negatives(
    data: TrainingData,
    mining: Mining,
    resources: Resources,
    student: Searcher | None = None,
    checked_by: PairScores | None = None,
) -> list[Pair]:
    """Return the training pairs with mined negatives.

    Args:
        data: pairs and corpus.
        mining: how many, and from where.
        resources: the base model's encoder.
        student: ranks the corpus where the source is the model at work.
        checked_by: a cross-encoder; what it scores close to the positive is left out (Qu et al., 2021, section 4.2).
    """
    pools = _pools(data, data.pairs, mining, resources, student)
    if checked_by is not None:
        pools = _checked(data, mining, pools, checked_by)
    mined = _drawn(data, data.pairs, mining.count, data.seed, pools)
    return [replace(pair, negatives=tuple(texts)) for pair, texts in zip(data.pairs, mined, strict=True)]


def mine(data: TrainingData, pairs: Sequence[Pair], count: int, seed: int, resources: Resources) -> list[list[str]]:
    """Return `count` texts for each pair, drawn by seed from the base model's first 50 documents.

    Where too few qualify, random documents that are not relevant to the query fill the rest.
    """
    return _drawn(data, pairs, count, seed, _pools(data, pairs, Mining(count), resources))


def _drawn(
    data: TrainingData, pairs: Sequence[Pair], count: int, seed: int, pools: Sequence[Sequence[str]]
) -> list[list[str]]:
    """Return the texts of `count` documents for each pair, drawn by seed from its pool, then from the corpus."""
    rng = np.random.default_rng([seed, 7])
    corpus = data.corpus
    mined = []
    for pair, pool in zip(pairs, pools, strict=True):
        relevant = data.train_qrels.get(pair.query_id, {})
        chosen = [str(doc) for doc in rng.permutation(list(pool))[:count]] if pool else []
        while len(chosen) < count:
            doc = corpus.ids[int(rng.integers(len(corpus)))]
            if doc not in relevant:
                chosen.append(doc)
        mined.append([corpus.text_of(doc) for doc in chosen])
    return mined


def _pools(
    data: TrainingData,
    pairs: Sequence[Pair],
    mining: Mining,
    resources: Resources,
    student: Searcher | None = None,
) -> list[list[str]]:
    """Return the documents that qualify for each pair: ranked high, not relevant, and below the margin."""
    queries = {pair.query_id: pair.query for pair in pairs}
    if mining.source == "model":
        assert student is not None
        return _by_model(data, pairs, queries, mining, student)
    if mining.source == "bm25":
        return _by_bm25(data, pairs, queries, mining, resources)
    corpus = data.corpus
    documents, seconds = resources.encoder.documents(corpus.texts)
    vectors, _ = resources.encoder.queries(list(queries.values()))
    rows = {query: vectors[position] for position, query in enumerate(queries)}
    ranking = VectorIndex(corpus.ids, documents, seconds).search(list(queries), vectors, _DEPTH)
    pools = []
    for pair in pairs:
        limit = _limit(mining, float(rows[pair.query_id] @ documents[corpus.positions[pair.doc_id]]))
        pools.append(_below(ranking[pair.query_id], data, pair, limit))
    return pools


def _by_model(
    data: TrainingData, pairs: Sequence[Pair], queries: Mapping[str, str], mining: Mining, student: Searcher
) -> list[list[str]]:
    """Return what qualifies in the ranking of the model at work. A positive that it does not find bars them all."""
    ranking = student.search(queries, student.index(data.corpus), _DEPTH)
    pools = []
    for pair in pairs:
        hits = list(ranking[pair.query_id])
        limit = _limit(mining, dict(hits).get(pair.doc_id, float("-inf")))
        pools.append(_below(hits, data, pair, limit))
    return pools


def _by_bm25(
    data: TrainingData, pairs: Sequence[Pair], queries: Mapping[str, str], mining: Mining, resources: Resources
) -> list[list[str]]:
    """Return what qualifies in the ranking of BM25. The base model's scores decide on the margin."""
    ranking = build_lexical(data.corpus).search(queries, _DEPTH)
    if not mining.margin:
        return [_below(ranking[pair.query_id], data, pair, float("inf")) for pair in pairs]
    found = {pair.doc_id for pair in pairs} | {doc for query in queries for doc, _ in ranking[query]}
    docs = {doc: row for row, doc in enumerate(sorted(found))}
    documents, _ = resources.encoder.documents([data.corpus.text_of(doc) for doc in docs])
    vectors, _ = resources.encoder.queries(list(queries.values()))
    rows = {query: vectors[position] for position, query in enumerate(queries)}
    pools = []
    for pair in pairs:
        hits = [doc for doc, _ in ranking[pair.query_id]]
        scores = np.asarray(documents[[docs[doc] for doc in (pair.doc_id, *hits)]]) @ rows[pair.query_id]
        scored = zip(hits, map(float, scores[1:]), strict=True)
        pools.append(_below(scored, data, pair, _limit(mining, float(scores[0]))))
    return pools


def _limit(mining: Mining, positive: float) -> float:
    """Return the score that a negative must stay below."""
    return mining.margin * positive if mining.margin else float("inf")


def _below(hits: Iterable[tuple[str, float]], data: TrainingData, pair: Pair, limit: float) -> list[str]:
    """Return the documents that score below a limit and that no label calls relevant."""
    relevant = data.train_qrels.get(pair.query_id, {})
    return [doc for doc, score in hits if doc not in relevant and score < limit]


def _checked(
    data: TrainingData, mining: Mining, pools: Sequence[Sequence[str]], scores_of: PairScores
) -> list[list[str]]:
    """Return what a cross-encoder scores below the margin, of a few candidates of each pool that the seed draws."""
    rng = np.random.default_rng([data.seed, 37])
    drawn = [[str(doc) for doc in rng.permutation(list(pool))[: _CHECKED * mining.count]] for pool in pools]
    texts = [
        (pair.query, data.corpus.text_of(doc))
        for pair, docs in zip(data.pairs, drawn, strict=True)
        for doc in (pair.doc_id, *docs)
    ]
    scores = iter(scores_of(texts))
    kept = []
    for docs in drawn:
        limit = (mining.margin or 1.0) * float(next(scores))
        kept.append([doc for doc, score in [(doc, float(next(scores))) for doc in docs] if score < limit])
    return kept
