"""Datasets in memory: corpus, queries, qrels by split, and their description."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import pydantic
import pydantic.dataclasses

Qrels = Mapping[str, Mapping[str, int]]
"""Query id -> document id -> grade, as in a TREC qrels file. A grade is an integer; above 0 means relevant."""

Answers = Mapping[str, tuple[str, ...]]
"""Query id -> its gold answers. Each of them is right. A query without an answer cannot be answered."""


@dataclass(frozen=True)
class Corpus:
    """Documents in a fixed order. `texts[i]` is the input of an encoder: title, a space, body."""

    ids: Sequence[str]
    texts: Sequence[str]
    titles: Sequence[str] | None = None
    bodies: Sequence[str] | None = None
    """The parts of `texts` if the dataset has titles, for pseudo-queries and BM25 over two fields."""

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def positions(self) -> dict[str, int]:
        """Document id -> position in `ids` and `texts`."""
        return {doc: position for position, doc in enumerate(self.ids)}

    def text_of(self, doc: str) -> str:
        """Return the text of a document."""
        return self.texts[self.positions[doc]]

    def subset(self, docs: Sequence[str]) -> Corpus:
        """Return the corpus of these documents, in this order."""
        return Corpus(list(docs), [self.text_of(doc) for doc in docs])


@dataclass(frozen=True)
class Pair:
    """A labelled example: a query and a document that is relevant to it."""

    query_id: str
    query: str
    doc_id: str
    document: str
    negatives: tuple[str, ...] = ()
    """Texts to compare the document with, the same number in each pair. Empty leaves them to the training settings."""
    scores: tuple[float, ...] = ()
    """A teacher's scores of the document and of each negative, for a loss that uses them."""


@pydantic.dataclasses.dataclass(frozen=True, config=pydantic.ConfigDict(strict=True))
class DatasetInfo:
    """The description of a dataset, as the catalogue gives it. The defaults hold for a folder that it does not list."""

    name: str
    title: str = ""
    role: Literal["target", "probe", "both"] = "target"
    licence: str = "unknown"
    source: str = ""
    drop_same_id: bool = False
    """Whether to drop a document with the query's own id before scoring (ArguAna, Quora)."""
    max_length: int | None = None
    """Number of tokens that texts are cut to on this dataset. None means the model's limit."""
    pseudo: bool = False
    """Whether the training queries are pseudo-queries, which count as 0 labels."""
    generated_by: str = ""
    """The language model that wrote the pseudo-queries. Empty where no model did."""
    expected: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Strategy -> measure -> published score, which `bench check` reproduces."""


@dataclass(frozen=True)
class Dataset:
    """A retrieval dataset in BEIR's sense. A strategy gets `TrainingData` instead, without the test split."""

    info: DatasetInfo
    corpus: Corpus
    queries: Mapping[str, str]
    splits: Mapping[str, Qrels]
    """Name of a split -> its qrels."""
    warnings: tuple[str, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)
    """Query id -> group (source, template or module), for stratified samples and averages over groups."""
    answers: Answers = field(default_factory=dict)
    """The gold answers of queries, where the dataset has some. Like the qrels, they are kept from strategies."""

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.info.name

    def qrels(self, split: str) -> Qrels:
        """Return the qrels of a split.

        Raises:
            DataError: the dataset has no such split.
        """
        if split not in self.splits:
            from bench.errors import DataError, did_you_mean

            raise DataError(
                f"dataset {self.name!r} has no split {split!r}{did_you_mean(split, self.splits) or '.'} "
                f"It has: {', '.join(sorted(self.splits)) or 'none'}."
            )
        return self.splits[split]

    def judged(self, split: str) -> list[str]:
        """Return the sorted ids of a split's judged queries."""
        return sorted(self.qrels(split))

    def pairs(self, split: str) -> Iterator[Pair]:
        """Yield the relevant (query, document) pairs of a split, ordered by query and document id."""
        yield from positive_pairs(self.qrels(split), self.queries, self.corpus)

    def unjudged(self, split: str | None) -> UnjudgedDataset:
        """Return the corpus and the queries that a split judges, without judgements and answers. None: no queries."""
        corpus = replace(self.corpus)  # a copy without `positions`, which is large and quickly made again
        judged = self.judged(split) if split is not None else ()
        return UnjudgedDataset(self.info, corpus, {query: self.queries[query] for query in judged})

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over corpus, queries, qrels and answers, independent of the layout and order of files."""
        digest = hashlib.sha256()
        ids, texts = self.corpus.ids, self.corpus.texts  # sorts numbers, as the texts may be too large for memory
        for position in sorted(range(len(ids)), key=ids.__getitem__):
            digest.update(json.dumps([ids[position], texts[position]]).encode())
        digest.update(json.dumps([sorted(self.queries.items()), self.info.drop_same_id]).encode())
        for split in sorted(self.splits):
            rows = {query: dict(sorted(docs.items())) for query, docs in sorted(self.splits[split].items())}
            digest.update(json.dumps([split, rows]).encode())
        if self.answers:
            digest.update(json.dumps(["answers", sorted(self.answers.items())]).encode())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class SimilarityDataset:
    """Sentence pairs with a graded similarity (STS), measured by Spearman's rho."""

    info: DatasetInfo
    first: Sequence[str]
    second: Sequence[str]
    scores: Sequence[float]

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.info.name

    def unjudged(self, split: str | None) -> UnjudgedPairs:
        """Return the sentence pairs without their graded similarities. There is one split."""
        return UnjudgedPairs(self.info, self.first, self.second)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over the content."""
        rows = list(zip(self.first, self.second, self.scores, strict=True))
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class UnjudgedDataset:
    """What a process that runs a strategy's code may read of a test split: corpus and queries, no judgement."""

    info: DatasetInfo
    corpus: Corpus
    queries: Mapping[str, str]
    """Id -> text of the queries that the split judges, in the order of their ids."""

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.info.name


@dataclass(frozen=True)
class UnjudgedPairs:
    """What a process that runs a strategy's code may read of a similarity dataset: sentences, no graded similarity."""

    info: DatasetInfo
    first: Sequence[str]
    second: Sequence[str]

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.info.name


@dataclass(frozen=True)
class TrainingData:
    """The data that a strategy's `fit` gets: training pairs, development queries and the corpus, but no test query."""

    dataset: str
    pairs: Sequence[Pair]
    dev_queries: Mapping[str, str]
    dev_qrels: Qrels
    corpus: Corpus
    """The target corpus without labels, for mining negatives and for adapting to unlabelled text."""
    seed: int = 0
    pseudo: bool = False
    """Whether the training queries are pseudo-queries, which are not labels."""
    generated: Sequence[Pair] = ()
    """Pairs with queries that a language model wrote. They are no labels, and no budget of labels counts them."""
    repeats_removed: int = 0
    """Number of training and development queries left out because they repeat a test query."""
    notes: tuple[str, ...] = ()
    """Sentences for the report about queries left out and development queries held out."""
    answers: Answers = field(default_factory=dict)
    """Gold answers of training and development queries, for what learns from a reader. Empty for all others."""

    @cached_property
    def train_qrels(self) -> Qrels:
        """The training pairs as qrels with grade 1."""
        qrels: dict[str, dict[str, int]] = {}
        for pair in self.pairs:
            qrels.setdefault(pair.query_id, {})[pair.doc_id] = 1
        return qrels

    @cached_property
    def train_queries(self) -> dict[str, str]:
        """Query id -> text of the training pairs."""
        return {pair.query_id: pair.query for pair in self.pairs}

    @property
    def labels(self) -> int:
        """Number of labelled pairs, as a budget of examples counts them: with development pairs, not pseudo-pairs."""
        if self.pseudo:
            return 0
        return len(self.pairs) + sum(sum(grade > 0 for grade in docs.values()) for docs in self.dev_qrels.values())

    @property
    def train_relevant(self) -> set[str]:
        """Documents of the training pairs. They define the seen stratum of the test queries."""
        return {pair.doc_id for pair in self.pairs}


def positive_pairs(qrels: Qrels, queries: Mapping[str, str], corpus: Corpus) -> Iterator[Pair]:
    """Yield a `Pair` for every grade above 0, ordered by query id, then document id."""
    for query in sorted(qrels):
        for doc in sorted(qrels[query]):
            if qrels[query][doc] > 0:
                yield Pair(query, queries[query], doc, corpus.text_of(doc))
