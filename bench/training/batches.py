"""Batches of training pairs: for a seed, the same for every strategy."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bench.data.dataset import Pair


def contrastive_batches(
    pairs: Sequence[Pair], relevant: Mapping[str, Mapping[str, int]], size: int, seed: int
) -> Iterator[list[int]]:
    """Yield batches without false negatives, for ever. Each epoch has a new order.

    In a batch, every other pair's document is a negative. Therefore no two pairs of a batch share a query or a document
    text, and no document is relevant to another pair's query. A pair that does not fit waits for the next batch, also
    across the end of an epoch. All batches have `size` pairs, or as many as can stand together.

    Args:
        pairs: the training pairs.
        relevant: query id -> document ids that are relevant to it (qrels).
        size: pairs a batch.
        seed: it alone determines the order.

    Yields:
        Positions in `pairs`.
    """
    if not pairs:
        return
    waiting: deque[int] = deque()
    epoch = 0
    while True:
        batch = _Batch(pairs, relevant)
        skipped: deque[int] = deque()
        refills = 0
        while len(batch.members) < size:
            if not waiting:
                if refills == 2:  # a whole epoch went by without filling the batch: no more can stand together
                    break
                waiting.extend(int(i) for i in np.random.default_rng([seed, epoch]).permutation(len(pairs)))
                epoch += 1
                refills += 1
            candidate = waiting.popleft()
            if not batch.add(candidate):
                skipped.append(candidate)
        waiting.extendleft(reversed(_without_repeats(skipped)))
        yield batch.members


class _Batch:
    """A batch that refuses pairs which would make a false negative."""

    def __init__(self, pairs: Sequence[Pair], relevant: Mapping[str, Mapping[str, int]]) -> None:
        self.members: list[int] = []
        self._pairs = pairs
        self._relevant = relevant
        self._texts: set[str] = set()
        self._queries: set[str] = set()
        self._documents: set[str] = set()
        self._barred: set[str] = set()  # documents relevant to a query that is in

    def add(self, position: int) -> bool:
        pair = self._pairs[position]
        own = {doc for doc, grade in self._relevant.get(pair.query_id, {}).items() if grade > 0}
        if (
            pair.query in self._queries
            or pair.document in self._texts
            or pair.doc_id in self._barred
            or not own.isdisjoint(self._documents)
        ):
            return False
        self.members.append(position)
        self._queries.add(pair.query)
        self._texts.add(pair.document)
        self._documents.add(pair.doc_id)
        self._barred |= own
        return True


def _without_repeats(positions: deque[int]) -> list[int]:
    return list(dict.fromkeys(positions))
