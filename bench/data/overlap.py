"""Measures what training and test splits share: repeated queries, and documents that are relevant in both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from bench.data.dataset import Dataset, Qrels
from bench.data.text import normalise


def relevant(qrels: Qrels) -> set[str]:
    """Return the documents that are relevant (grade above 0) to at least one query."""
    return {doc for docs in qrels.values() for doc, grade in docs.items() if grade > 0}


def seen_queries(qrels: Qrels, train_relevant: Set[str]) -> set[str]:
    """Return the seen stratum: queries with a relevant document that was a positive in training."""
    return {
        query
        for query, docs in qrels.items()
        if any(grade > 0 and doc in train_relevant for doc, grade in docs.items())
    }


def repeated_queries(train: Iterable[str], test: Iterable[str], queries: Mapping[str, str]) -> set[str]:
    """Return the ids in `train` whose normalised text equals that of a query in `test`."""
    known = {normalise(queries[query]) for query in test}
    return {query for query in train if normalise(queries[query]) in known}


@dataclass(frozen=True)
class Overlap:
    """The overlap of a test split with a training split, as counts of queries and documents."""

    train_queries: int
    test_queries: int
    repeated_queries: int
    """Training queries whose normalised text repeats a test query."""
    test_relevant: int
    shared_relevant: int
    """Documents relevant to a test query that are relevant to a training query too."""
    seen_queries: int
    """Test queries with at least one shared relevant document."""

    @property
    def seen_share(self) -> float:
        """Share of the test queries that are seen. Above 0.05 the unseen stratum is the headline."""
        return self.seen_queries / self.test_queries if self.test_queries else 0.0

    def sentence(self, train: str = "train", test: str = "test") -> str:
        """Return the counts as a sentence that names the splits."""
        return (
            f"{self.shared_relevant} of {self.test_relevant} {test}-relevant documents are relevant in {train} too, "
            f"and {self.seen_queries} of {self.test_queries} {test} queries have one; "
            f"{self.repeated_queries} of {self.train_queries} {train} queries repeat a {test} query."
        )


def overlap(dataset: Dataset, train_split: str = "train", test_split: str = "test") -> Overlap:
    """Return the overlap of two splits.

    Raises:
        DataError: the dataset lacks one of the splits.
    """
    train, test = dataset.qrels(train_split), dataset.qrels(test_split)
    train_relevant, test_relevant = relevant(train), relevant(test)
    return Overlap(
        train_queries=len(train),
        test_queries=len(test),
        repeated_queries=len(repeated_queries(train, test, dataset.queries)),
        test_relevant=len(test_relevant),
        shared_relevant=len(test_relevant & train_relevant),
        seen_queries=len(seen_queries(test, train_relevant)),
    )
