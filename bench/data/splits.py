"""From a dataset to what a fit may see: test queries kept out, labels sampled, development queries set apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from bench.data.dataset import Dataset, Pair, Qrels, TrainingData, positive_pairs
from bench.data.duplicates import Groups
from bench.data.overlap import repeated_queries
from bench.data.text import normalise

DEV_SHARE = 0.2
SELECTION_FLOOR = 100
"""Labels below which nothing is set apart for development: shipped defaults and the last checkpoint are used."""
DEV_NAMES = ("dev", "validation", "valid", "val")


def training_data(
    dataset: Dataset,
    seed: int,
    examples: int | None = None,
    test_split: str = "test",
    *,
    remove_repeats: bool = True,
) -> TrainingData:
    """Return the training pairs and development queries of a dataset. What was left out is said in `notes`.

    Without a budget of `examples` the dataset's own development split is used; where it has none, or the budget is
    set, a fifth of the training pairs is set apart by seed: by query, and queries that share a relevant document or are
    the same question stay on one side. A budget counts labelled pairs, development pairs included; a smaller sample of
    the same seed is contained in a larger one, and every sample is drawn by query, in proportion to the groups if any.

    A dataset that has a development split but no train split (Quora) is trained on its development split.

    Args:
        dataset: the dataset.
        seed: draws the sample and the development queries.
        examples: labelled pairs to use; None uses all.
        test_split: the split that is to be tested on, whose queries are never returned.
        remove_repeats: leave out queries whose text repeats a test query's; those with a test query's id always are.
    """
    notes: list[str] = []
    usable = {name: qrels for name, qrels in dataset.splits.items() if name != test_split}
    own_dev = next((name for name in DEV_NAMES if name in usable), None)
    train_name = "train" if "train" in usable else own_dev
    if train_name == own_dev:
        own_dev = None
    if train_name is None:
        notes.append(f"dataset {dataset.name!r} has no training split")
    elif train_name != "train":
        notes.append(f"dataset {dataset.name!r} has no train split: its {train_name} split is trained on")
    train: Qrels = usable.get(train_name or "", {})
    dev: Qrels = usable.get(own_dev or "", {}) if examples is None else {}

    test = dataset.splits.get(test_split, {})
    train, repeats = _without_repeats(train, test, dataset.queries, remove_repeats)
    dev, dev_repeats = _without_repeats(dev, test, dataset.queries, remove_repeats)
    train, in_dev = _without_repeats(train, dev, dataset.queries, True)
    for count, where in ((repeats, "training queries repeat a test query"),
                         (dev_repeats, "development queries repeat a test query"),
                         (in_dev, "training queries repeat a development query")):  # fmt: skip
        if count:
            notes.append(f"{count} {where} and were removed")

    pairs = list(positive_pairs(train, dataset.queries, dataset.corpus))
    if examples is not None:
        if examples > len(pairs):
            notes.append(f"{examples} labelled pairs were asked for, there are {len(pairs)}")
        pairs = sample_pairs(pairs, examples, seed, dataset.groups)
    if not dev and len(pairs) >= SELECTION_FLOOR:
        pairs, held_out, by_document = split_off(pairs, seed)
        dev = _qrels(held_out, train)
        if not by_document:
            notes.append("training queries share too many documents: development queries were set apart by query alone")
    dev = {query: docs for query, docs in dev.items() if any(grade > 0 for grade in docs.values())}
    return TrainingData(
        dataset=dataset.name,
        pairs=pairs,
        dev_queries={query: dataset.queries[query] for query in dev},
        dev_qrels=dev,
        corpus=dataset.corpus,
        seed=seed,
        pseudo=dataset.info.pseudo,
        repeats_removed=repeats + dev_repeats,
        notes=tuple(notes),
    )


def sample_pairs(pairs: Sequence[Pair], count: int, seed: int, groups: Mapping[str, str] | None = None) -> list[Pair]:
    """Draw labelled pairs by seed and by query; a smaller sample of the same seed is contained in a larger one.

    Groups (query id -> group) are drawn from in proportion to their size. Only the last query may keep a part of its
    pairs.

    Returns:
        At most `count` pairs, ordered by query and document id.
    """
    by_query: dict[str, list[Pair]] = {}
    for pair in sorted(pairs, key=lambda pair: (pair.query_id, pair.doc_id)):
        by_query.setdefault(pair.query_id, []).append(pair)
    members: dict[str, list[str]] = {}
    for query in by_query:
        members.setdefault((groups or {}).get(query, ""), []).append(query)
    keys: dict[str, float] = {}
    for group, queries in members.items():
        offset = int(_drawn(seed, "group", group)[:8], 16) / 0x1_0000_0000
        ordered = sorted(queries, key=lambda query: _drawn(seed, "sample", query))
        keys.update({query: (rank + offset) / len(queries) for rank, query in enumerate(ordered)})
    order = sorted(by_query, key=lambda query: (keys[query], query))
    drawn = [pair for query in order for pair in by_query[query]][:count]
    return sorted(drawn, key=lambda pair: (pair.query_id, pair.doc_id))


def split_off(pairs: Sequence[Pair], seed: int, share: float = DEV_SHARE) -> tuple[list[Pair], list[Pair], bool]:
    """Set a share of the labelled pairs apart for development.

    Queries that share a document, or are the same question once normalised, stay on one side. Where that ties more than
    half of the pairs together (graded judgements over few documents), shared documents are let go.

    Returns:
        Training pairs, development pairs (at most the share), and whether no document is on both sides.
    """
    queries = sorted({pair.query_id for pair in pairs})
    position = {query: number for number, query in enumerate(queries)}
    counts = [0] * len(queries)
    texts: list[tuple[int, str]] = []
    docs: list[tuple[int, str]] = []
    for pair in pairs:
        counts[position[pair.query_id]] += 1
        texts.append((position[pair.query_id], normalise(pair.query)))
        docs.append((position[pair.query_id], pair.doc_id))
    groups = _tied(len(queries), texts, docs)
    by_document = 2 * max((_weight(found, counts) for found in groups.members().values()), default=0) <= len(pairs)
    if not by_document:
        groups = _tied(len(queries), texts)
    room = round(share * len(pairs))
    chosen: set[str] = set()
    parts = sorted(groups.members().values(), key=lambda found: _drawn(seed, "dev", queries[found[0]]))
    for found in parts:
        if (weight := _weight(found, counts)) <= room:
            room -= weight
            chosen.update(queries[member] for member in found)
    train = [pair for pair in pairs if pair.query_id not in chosen]
    return train, [pair for pair in pairs if pair.query_id in chosen], by_document


def _tied(count: int, *keyed: Iterable[tuple[int, str]]) -> Groups:
    """Join the queries (by position) that have a key in common, within each kind of key."""
    groups = Groups(count)
    for items in keyed:
        first: dict[str, int] = {}
        for query, key in items:
            groups.union(first.setdefault(key, query), query)
    return groups


def _weight(members: Iterable[int], counts: Sequence[int]) -> int:
    return sum(counts[member] for member in members)


def _qrels(pairs: Iterable[Pair], graded: Qrels) -> Qrels:
    qrels: dict[str, dict[str, int]] = {}
    for pair in pairs:
        qrels.setdefault(pair.query_id, {})[pair.doc_id] = graded[pair.query_id][pair.doc_id]
    return qrels


def _without_repeats(train: Qrels, other: Qrels, queries: Mapping[str, str], by_text: bool) -> tuple[Qrels, int]:
    """Remove the queries of `train` that `other` has too: by id, and by normalised text if asked for."""
    removed = set(train) & set(other)
    if by_text:
        removed |= repeated_queries(train, other, queries)
    return {query: docs for query, docs in train.items() if query not in removed}, len(removed)


def _drawn(seed: int, purpose: str, name: str) -> str:
    """Return a key that orders names at random for a seed, independently of which other names there are."""
    return hashlib.sha256(f"{seed}\0{purpose}\0{name}".encode()).hexdigest()
