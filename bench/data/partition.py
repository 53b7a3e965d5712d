"""Splits a user's imported questions so that paraphrases stay together, or makes pseudo-queries for training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from bench.data.dataset import Dataset, DatasetInfo, Qrels
from bench.data.duplicates import Groups, near_pairs
from bench.data.importing import Builder
from bench.data.pseudo import GENERATED, PseudoQuery
from bench.data.text import normalise
from bench.errors import DataError

Piece = TypeVar("Piece", bound=Sequence[object])

SHARES = {"train": 0.8, "dev": 0.1, "test": 0.1}
PARAPHRASE = 0.8
"""Questions whose sets of words have at least this Jaccard index stay in one split."""


def assemble(
    info: DatasetInfo,
    builder: Builder,
    seed: int,
    shares: Mapping[str, float] | None = None,
    pseudo: Sequence[PseudoQuery] | None = None,
    keep_labels: bool = False,
) -> Dataset:
    """Return the dataset of the rows that a builder has read.

    With `pseudo`, these pseudo-queries are for training and development, and all labelled questions go to the test
    split. Without labelled questions the test queries are pseudo-queries too, of other documents. Their group tells.
    With `keep_labels` the labelled questions are split as without pseudo-queries, and these are a split of their own.

    Raises:
        DataError: the table names a split other than train, dev and test, there are too few questions to split, or no
            document gives a pseudo-query.
    """
    corpus = builder.corpus()
    notes = list(builder.notes)
    if unanswered := builder.unanswered:
        notes.append(
            f"{len(unanswered)} questions have no relevant passage, only irrelevant ones: they are left out of dev and "
            "test"
        )
    if pseudo is not None and not keep_labels:
        queries, groups, splits = _with_pseudo(pseudo, builder, seed, notes)
    else:
        queries, groups = builder.queries, builder.groups
        splits = _named_splits(builder) if builder.splits else split_by_question(builder, seed, shares or SHARES, notes)
    if pseudo is not None and keep_labels:
        queries = queries | {query.id: query.text for query in pseudo}
        groups = groups | {query.id: query.group for query in pseudo}
        splits = splits | {GENERATED: {query.id: {query.doc: 1} for query in pseudo}}
    answers = {query: texts for query, texts in builder.answers.items() if query in queries}
    return Dataset(info, corpus, queries, splits, tuple(notes), groups, answers)


def _with_pseudo(
    made: Sequence[PseudoQuery], builder: Builder, seed: int, notes: list[str]
) -> tuple[dict[str, str], dict[str, str], dict[str, Qrels]]:
    if not made:
        raise DataError("no pseudo-query can be made: the documents have neither titles nor two sentences of text")
    places = {"train": 0.9, "dev": 0.1} if builder.judged else SHARES
    by_doc: dict[str, list[PseudoQuery]] = {}
    for query in made:
        by_doc.setdefault(query.doc, []).append(query)
    pieces = [by_doc[doc] for doc in sorted(by_doc, key=lambda doc: _drawn(seed, doc))]
    splits: dict[str, Qrels] = {
        split: {query.id: {query.doc: 1} for piece in dealt for query in piece}
        for split, dealt in _deal(pieces, places, "documents with pseudo-queries").items()
    }
    if builder.judged:
        splits["test"] = _answered(builder)
    else:
        notes.append("the test queries are pseudo-queries: scores do not show how real questions fare")
    asked = {query: builder.queries[query] for query in splits["test"] if query in builder.queries}
    queries = {query.id: query.text for query in made} | asked
    groups = {query.id: query.group for query in made} | builder.groups
    return queries, groups, splits


def _answered(builder: Builder) -> dict[str, dict[str, int]]:
    """Return the judgements of the questions that have a relevant passage."""
    unanswered = builder.unanswered
    return {query: docs for query, docs in builder.judged.items() if query not in unanswered}


def _deal(pieces: Sequence[Piece], shares: Mapping[str, float], what: str) -> dict[str, list[Piece]]:
    """Return the pieces (lists of queries) of each split. Each piece goes to the split furthest below its share.

    Raises:
        DataError: there are fewer pieces than splits.
    """
    positive = {split: share for split, share in shares.items() if share > 0}
    if len(pieces) < len(positive):
        raise DataError(f"{len(pieces)} {what} cannot be split into {', '.join(positive)}")
    dealt: dict[str, list[Piece]] = {split: [] for split in positive}
    sizes = dict.fromkeys(positive, 0)
    for piece in pieces:
        split = min(positive, key=lambda name: (bool(dealt[name]), sizes[name] / positive[name]))
        dealt[split].append(piece)
        sizes[split] += len(piece)
    return dealt


def _named_splits(builder: Builder) -> dict[str, Qrels]:
    splits: dict[str, dict[str, dict[str, int]]] = {}
    unanswered = builder.unanswered
    for query, docs in builder.judged.items():
        split = builder.splits.get(query, "")
        if split not in SHARES:
            raise DataError(
                f"question {builder.queries[query][:60]!r}: its split {split!r} is not train, dev or test. "
                "--split none splits anew"
            )
        if split != "train" and query in unanswered:
            continue
        splits.setdefault(split, {})[query] = docs
    return {split: splits[split] for split in SHARES if split in splits}


def split_by_question(builder: Builder, seed: int, shares: Mapping[str, float], notes: list[str]) -> dict[str, Qrels]:
    """Return the qrels of each split. A question, its paraphrases and questions with the same answer stay together.

    Questions are tied by equal normalised text, by a shared relevant passage, and by resemblance. A kind of tie that
    would put more than half of the questions into one piece is dropped, with a note. Questions with irrelevant passages
    alone go to the training split.

    Raises:
        DataError: no question has a relevant passage, or there are fewer separate questions than splits.
    """
    unanswered = builder.unanswered
    ids = sorted(builder.judged.keys() - unanswered)
    if not ids:
        raise DataError("no question has a relevant passage, so there is nothing to split")
    texts = [builder.queries[query] for query in ids]
    same = _by_key(normalise(text) for text in texts)
    shared: dict[str, list[int]] = {}
    for position, query in enumerate(ids):
        for doc, grade in builder.judged[query].items():
            if grade > 0:
                shared.setdefault(doc, []).append(position)
    alike = [[pair.first, pair.second] for pair in near_pairs(texts, PARAPHRASE, size=1)]
    ties = {"sharing a passage": list(shared.values()), "resemblance": alike}
    groups = _tie(Groups(len(ids)), same)
    for name, sets in ties.items():
        tried = _tie(Groups(len(ids)), [*same, *sets, *groups.members().values()])
        if max(map(len, tried.members().values())) * 2 > len(ids) and len(ids) > 2:
            notes.append(f"{name} ties more than half of the questions together, so it may cross the splits")
        else:
            groups = tried
    pieces = sorted(groups.members().values(), key=lambda piece: _drawn(seed, ids[piece[0]]))
    splits: dict[str, Qrels] = {
        split: {
            ids[member]: builder.judged[ids[member]] for member in sorted(member for piece in dealt for member in piece)
        }
        for split, dealt in _deal(pieces, shares, "separate questions").items()
    }
    if "train" in splits:
        splits["train"] = {**splits["train"], **{query: builder.judged[query] for query in sorted(unanswered)}}
    return splits


def _by_key(keys: Iterable[str]) -> list[list[int]]:
    sets: dict[str, list[int]] = {}
    for position, key in enumerate(keys):
        sets.setdefault(key, []).append(position)
    return list(sets.values())


def _tie(groups: Groups, sets: Sequence[Sequence[int]]) -> Groups:
    for members in sets:
        for member in members[1:]:
            groups.union(members[0], member)
    return groups


def _drawn(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}\0{name}".encode()).hexdigest()
