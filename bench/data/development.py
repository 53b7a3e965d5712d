"""Development samples: the queries on which strategies are chosen, never those that a fit trains on or is tested on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.budget import SELECTION_FLOOR
from bench.data.dataset import Corpus, Dataset, DatasetInfo, Qrels, TrainingData
from bench.data.pseudo import pseudo_queries
from bench.data.splits import training_data
from bench.data.text import normalise
from bench.errors import NotApplicableError

MOST_QUERIES = 1000
"""The most queries of a sample. They are drawn by a hash of their ids."""
_SPANS = 104_729
"""Draws the spans of made queries. Pseudo-queries for training are drawn by other seeds."""


@dataclass(frozen=True)
class DevelopmentSample:
    """The development queries of one seed and label budget. All strategies of that seed and budget share them."""

    seed: int
    examples: int | None
    """The label budget; None is all labels."""
    queries: Mapping[str, str]
    """Query id -> text, in the order in which they were drawn: a strategy that is slow takes the first ones."""
    qrels: Qrels
    made: bool
    """Whether the queries were made from documents, so that no label says what is relevant."""


@dataclass(frozen=True)
class DevelopmentSet:
    """A dataset with samples of its development queries and their judgements, without its test queries."""

    info: DatasetInfo
    corpus: Corpus
    groups: Mapping[str, str]
    samples: tuple[DevelopmentSample, ...]

    def unjudged(self, split: str | None) -> UnjudgedDevelopment:
        """Return the corpus and the queries of each sample, without judgements."""
        return UnjudgedDevelopment(self.info, replace(self.corpus), tuple(sample.queries for sample in self.samples))


@dataclass(frozen=True)
class UnjudgedDevelopment:
    """What a process that runs a strategy's code may read of a development cell."""

    info: DatasetInfo
    corpus: Corpus
    samples: tuple[Mapping[str, str], ...]
    """The queries (id -> text) of each sample, in the order in which they were drawn."""


def development_sample(
    dataset: Dataset, seed: int, examples: int | None, test_split: str, floor: int = SELECTION_FLOOR
) -> DevelopmentSample:
    """Return the development sample of a seed and label budget: at most `MOST_QUERIES` queries.

    The queries are those that `training_data` holds out. With fewer labels than `floor` nothing is held out. The
    queries are then titles, sentences and spans of documents that are no training positive.

    Args:
        dataset: the dataset.
        seed: the seed of the fits.
        examples: their label budget; None is all labels.
        test_split: the split to be tested on.
        floor: the number of labels from which development queries are held out.

    Raises:
        NotApplicableError: no query can be made from these documents.
    """
    data = training_data(dataset, seed, examples, test_split, selection_floor=floor)
    if data.dev_qrels and (data.pseudo or data.labels >= floor):
        drawn = _draw(data.dev_qrels, seed)
        queries = {query: data.dev_queries[query] for query in drawn}
        qrels = {query: data.dev_qrels[query] for query in drawn}
        return DevelopmentSample(seed, examples, queries, qrels, data.pseudo)
    made = _made(dataset, data)
    if not made:
        raise NotApplicableError(f"dataset {dataset.name!r} has fewer than {floor} labels, and no query can be made")
    drawn = _draw(made, seed)
    return DevelopmentSample(
        seed,
        examples,
        {query: made[query][0] for query in drawn},
        {query: {made[query][1]: 1} for query in drawn},
        made=True,
    )


def _made(dataset: Dataset, data: TrainingData) -> dict[str, tuple[str, str]]:
    """Return id -> (text, document) of queries made from documents. None repeats a query or a document of the data."""
    known = {normalise(query) for query in dataset.queries.values()}
    positives = data.train_relevant
    return {
        query.id: (query.text, query.doc)
        for query in pseudo_queries(dataset.corpus, _SPANS)
        if query.doc not in positives and query.id not in dataset.queries and normalise(query.text) not in known
    }


def _draw(queries: Mapping[str, object], seed: int) -> list[str]:
    """Return at most `MOST_QUERIES` ids in an order drawn by seed."""
    order = sorted(queries, key=lambda query: hashlib.sha256(f"{seed}\0development\0{query}".encode()).digest())
    return order[:MOST_QUERIES]
