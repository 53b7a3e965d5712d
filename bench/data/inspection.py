"""Inspects a dataset's texts: sizes, lengths, duplicates, leaks, overlap and templates."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from bench.data.cleaning import NEAR_DOCUMENT, NEAR_QUERY
from bench.data.dataset import Dataset
from bench.data.duplicates import NearPair, clusters, near_pairs
from bench.data.overlap import Overlap, overlap, relevant
from bench.data.templates import Template, find_templates

_EXAMPLES = 5


@dataclass(frozen=True)
class Lengths:
    """Lengths of texts."""

    unit: str
    """`words` or `tokens`."""
    median: float
    p95: float
    longest: int
    limit: int | None = None
    """Number of tokens that the model takes of a text."""
    truncated: float | None = None
    """Share of the texts that exceed the limit."""


@dataclass(frozen=True)
class SplitSummary:
    """Counts of one split."""

    queries: int
    judgements: int
    relevant: int
    """Judgements with a grade above 0."""
    labels_per_query: float
    most_labels: int
    grades: dict[int, int]
    """Grade -> number of judgements."""
    pseudo: int = 0
    """Number of pseudo-queries."""
    answered: int = 0
    """Number of queries with gold answers."""


@dataclass(frozen=True)
class Leak:
    """Queries or documents that two splits share, or that nearly agree."""

    first: str
    second: str
    kind: str
    """`queries` or `relevant documents`."""
    same: int
    """Number of items of the second split that are in the first too: equal queries, or the same documents."""
    near: int
    """Number of items of the second split that only resemble one of the first."""
    examples: tuple[tuple[str, str], ...] = ()
    """Ids in the first and in the second split."""


@dataclass(frozen=True)
class Inspection:
    """The summary of a dataset."""

    documents: int
    splits: dict[str, SplitSummary]
    lengths: dict[str, Lengths]
    """`documents` or `queries` -> their lengths."""
    copied_documents: int
    """Number of documents whose normalised text equals that of an earlier one."""
    near_clusters: int
    """Number of groups of documents that resemble each other."""
    near_documents: int
    """Number of documents in these groups."""
    leaks: tuple[Leak, ...]
    overlaps: dict[str, Overlap]
    """Split -> overlap with the test split."""
    lexical_overlap: dict[str, float] = field(default_factory=dict)
    """See `lexical_overlap`."""
    templates: tuple[Template, ...] = ()
    templated: float = 0.0
    """Share of the questions that follow a template."""
    warnings: tuple[str, ...] = ()


def inspect(
    dataset: Dataset,
    tokenize: Callable[[str], list[str]],
    count: Callable[[Sequence[str]], list[int]] | None = None,
    limit: int | None = None,
    test_split: str = "test",
    near_document: float = NEAR_DOCUMENT,
    near_query: float = NEAR_QUERY,
) -> Inspection:
    """Return the summary of a dataset.

    Args:
        dataset: the dataset.
        tokenize: splits a text into the terms that lexical search compares.
        count: returns the numbers of tokens of texts. None counts words.
        limit: number of tokens that the model takes of a text.
        test_split: the split that the other splits are compared with.
        near_document: Jaccard index of three-word shingles from which documents resemble each other.
        near_query: Jaccard index of words from which queries resemble each other.
    """
    corpus, queries = dataset.corpus, dataset.queries
    judged = sorted({query for qrels in dataset.splits.values() for query in qrels})
    near_docs = near_pairs(corpus.texts, near_document)
    resembling = [group for group in clusters(len(corpus), near_docs).members().values() if len(group) > 1]
    near_queries = near_pairs([queries[query] for query in judged], near_query, size=1)
    texts = [queries[query] for query in judged]
    templates = find_templates(texts)
    return Inspection(
        documents=len(corpus),
        splits={split: _split_summary(dataset, split) for split in dataset.splits},
        lengths={
            "documents": _lengths(corpus.texts, count, limit),
            "queries": _lengths(texts, count, limit),
        },
        copied_documents=sum(pair.copy for pair in near_docs),
        near_clusters=len(resembling),
        near_documents=sum(map(len, resembling)),
        leaks=tuple(_leaks(dataset, judged, near_queries, near_docs)),
        overlaps={
            split: overlap(dataset, split, test_split)
            for split in dataset.splits
            if split != test_split and test_split in dataset.splits
        },
        lexical_overlap=lexical_overlap(dataset, test_split, tokenize) if test_split in dataset.splits else {},
        templates=tuple(templates),
        templated=sum(len(template.members) for template in templates) / len(texts) if texts else 0.0,
        warnings=dataset.warnings,
    )


def _split_summary(dataset: Dataset, split: str) -> SplitSummary:
    from bench.data.pseudo import is_pseudo

    qrels = dataset.qrels(split)
    grades = [grade for docs in qrels.values() for grade in docs.values()]
    labels = [sum(grade > 0 for grade in docs.values()) for docs in qrels.values()]
    return SplitSummary(
        queries=len(qrels),
        judgements=len(grades),
        relevant=sum(labels),
        labels_per_query=statistics.fmean(labels) if labels else 0.0,
        most_labels=max(labels, default=0),
        grades={grade: grades.count(grade) for grade in sorted(set(grades))},
        pseudo=sum(is_pseudo(dataset.groups, query) for query in qrels),
        answered=sum(bool(dataset.answers.get(query)) for query in qrels),
    )


def _lengths(texts: Sequence[str], count: Callable[[Sequence[str]], list[int]] | None, limit: int | None) -> Lengths:
    lengths = sorted(count(texts) if count else [len(text.split()) for text in texts])
    if not lengths:
        return Lengths("tokens" if count else "words", 0, 0, 0)
    return Lengths(
        "tokens" if count else "words",
        statistics.median(lengths),
        lengths[min(len(lengths) - 1, round(0.95 * len(lengths)))],
        lengths[-1],
        limit if count else None,
        sum(length > limit for length in lengths) / len(lengths) if count and limit else None,
    )


def _leaks(
    dataset: Dataset, judged: Sequence[str], near_queries: Iterable[NearPair], near_docs: Iterable[NearPair]
) -> Iterable[Leak]:
    """Yield the leaks between every two splits that have some."""
    alike_queries = _alike((judged[pair.first], judged[pair.second], pair.copy) for pair in near_queries)
    ids = dataset.corpus.ids
    alike_docs = _alike((ids[pair.first], ids[pair.second], pair.copy) for pair in near_docs)
    rank = {"test": 0, "dev": 1, "train": 3}
    order = sorted(dataset.splits, key=lambda split: (rank.get(split, 2), split))
    for first, second in combinations(order, 2):
        one, two = dataset.qrels(first), dataset.qrels(second)
        for kind, early, late, alike in (
            ("queries", set(one), set(two), alike_queries),
            ("relevant documents", relevant(one), relevant(two), alike_docs),
        ):
            same, near, examples = 0, 0, []
            for item in sorted(late):
                partner = item if item in early else alike.get(item, {}).get("same", set()) & early
                if partner:
                    same += 1
                elif partner := alike.get(item, {}).get("near", set()) & early:
                    near += 1
                if partner:
                    examples.append((item if item in early else min(partner), item))
            if same or near:
                yield Leak(first, second, kind, same, near, tuple(examples[:_EXAMPLES]))


def _alike(pairs: Iterable[tuple[str, str, bool]]) -> dict[str, dict[str, set[str]]]:
    """Return id -> ids with the `same` normalised text and `near` ids. Copies are paired with the first of them."""
    alike: dict[str, dict[str, set[str]]] = {}
    copies: dict[str, set[str]] = {}
    for first, second, copy in pairs:
        if copy:
            copies.setdefault(first, {first}).add(second)
        for one, other in ((first, second), (second, first)):
            alike.setdefault(one, {}).setdefault("near", set()).add(other)
    for members in copies.values():
        for member in members:
            alike.setdefault(member, {}).setdefault("same", set()).update(members - {member})
    return alike


def lexical_overlap(dataset: Dataset, split: str, tokenize: Callable[[str], list[str]]) -> dict[str, float]:
    """Return the share of a query's terms that its best relevant document has.

    Returns:
        `mean`: the mean share over the queries with terms. `none`: the share of these queries with no term in common.
    """
    cached: dict[str, set[str]] = {}
    shares: list[float] = []
    for query, docs in dataset.qrels(split).items():
        terms = set(tokenize(dataset.queries[query]))
        if not terms:
            continue
        shared = 0
        for doc in (doc for doc, grade in docs.items() if grade > 0 and doc in dataset.corpus.positions):
            if doc not in cached:
                cached[doc] = set(tokenize(dataset.corpus.text_of(doc)))
            shared = max(shared, len(terms & cached[doc]))
        shares.append(shared / len(terms))
    if not shares:
        return {}
    return {"mean": statistics.fmean(shares), "none": sum(share == 0 for share in shares) / len(shares)}
