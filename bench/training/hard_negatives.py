"""Hard negatives: documents that the base model ranks high and that no label calls relevant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.data.dataset import Pair, TrainingData
from bench.retrieval.index import VectorIndex
from bench.strategy.resources import Resources

_DEPTH = 50
_MARGIN = 0.95
"""A document scoring above this share of the positive's score may be an unlabelled positive (Moreira et al., 2024)."""


def with_hard_negatives(data: TrainingData, resources: Resources) -> Sequence[Pair]:
    """Return the training pairs, with mined negatives where the settings ask for some and the pairs bring none."""
    count = resources.training.hard_negatives
    if not count or any(pair.negatives for pair in data.pairs):
        return data.pairs
    mined = mine(data, data.pairs, count, data.seed, resources)
    return [replace(pair, negatives=tuple(texts)) for pair, texts in zip(data.pairs, mined, strict=True)]


def mine(data: TrainingData, pairs: Sequence[Pair], count: int, seed: int, resources: Resources) -> list[list[str]]:
    """Return `count` texts for each pair, drawn by seed from the base model's first 50 documents.

    Where too few qualify, random documents that are not relevant to the query fill the rest.
    """
    rng = np.random.default_rng([seed, 7])
    corpus = data.corpus
    queries = {pair.query_id: pair.query for pair in pairs}
    documents, seconds = resources.encoder.documents(corpus.texts)
    vectors, _ = resources.encoder.queries(list(queries.values()))
    rows = {query: vectors[position] for position, query in enumerate(queries)}
    ranking = VectorIndex(corpus.ids, documents, seconds).search(list(queries), vectors, _DEPTH)
    mined = []
    for pair in pairs:
        relevant = data.train_qrels.get(pair.query_id, {})
        limit = _MARGIN * float(rows[pair.query_id] @ documents[corpus.positions[pair.doc_id]])
        pool = [doc for doc, score in ranking[pair.query_id] if doc not in relevant and score < limit]
        chosen = [str(doc) for doc in rng.permutation(pool)[:count]] if pool else []
        while len(chosen) < count:
            doc = corpus.ids[int(rng.integers(len(corpus)))]
            if doc not in relevant:
                chosen.append(doc)
        mined.append([corpus.text_of(doc) for doc in chosen])
    return mined
