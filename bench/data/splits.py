"""Makes the training data of a fit from a dataset: no test queries, a sample of labels, and development queries."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from bench.budget import SELECTION_FLOOR
from bench.data.dataset import Dataset, Pair, Qrels, TrainingData, positive_pairs
from bench.data.duplicates import Groups
from bench.data.overlap import repeated_queries
from bench.data.pseudo import is_generated
from bench.data.text import normalise

DEV_SHARE = 0.2
DEV_NAMES = ("dev", "validation", "valid", "val")


def training_data(
    dataset: Dataset,
    seed: int,
    examples: int | None = None,
    test_split: str = "test",
    *,
    selection_floor: int = SELECTION_FLOOR,
    remove_repeats: bool = True,
) -> TrainingData:
    """Return the training pairs and development queries of a dataset. Its `notes` list what was left out.

    Development queries come from the dataset's development split if it has one and `examples` is None. Otherwise a
    fifth of the training pairs is held out by seed. Equal questions, and queries that share a relevant document, stay
    on one side.

    `examples` counts labelled pairs, including development pairs. Samples of one seed are nested. A sample is drawn by
    query, in proportion to the groups.

    A dataset with a development split and no train split (Quora) is trained on its development split.

    Args:
        dataset: the dataset.
        seed: draws the sample and the development queries.
        examples: number of labelled pairs to use. None uses all.
        test_split: the split to be tested on. Its queries are never returned.
        selection_floor: number of labelled pairs below which no development queries are held out.
        remove_repeats: leave out queries whose text repeats a test query. Ids of test queries are always left out.
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
        notes.append(f"dataset {dataset.name!r} has no train split, so its {train_name} split is used for training")
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
            notes.append(f"{examples} labelled pairs were requested, but there are {len(pairs)}")
        pairs = sample_pairs(pairs, examples, seed, dataset.groups)
    if not dev and len(pairs) >= selection_floor:
        pairs, held_out, by_document = split_off(pairs, seed)
        dev = _qrels(held_out, train)
        if not by_document:
            notes.append(
                "training queries share too many documents, so development queries were held out by query alone"
            )
    dev = {query: docs for query, docs in dev.items() if any(grade > 0 for grade in docs.values())}
    shown = {pair.query_id for pair in pairs} | dev.keys()
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
        generated=generated_pairs(dataset, test_split),
        answers={query: texts for query, texts in dataset.answers.items() if query in shown},
    )


def generated_pairs(dataset: Dataset, test_split: str) -> list[Pair]:
    """Return the pairs of the queries that a language model wrote, without those that repeat a test query."""
    test = dataset.splits.get(test_split, {})
    written: dict[str, Mapping[str, int]] = {
        query: docs
        for name, qrels in dataset.splits.items()
        if name != test_split
        for query, docs in qrels.items()
        if is_generated(dataset.groups, query)
    }
    kept, _ = _without_repeats(written, test, dataset.queries, True)
    return list(positive_pairs(kept, dataset.queries, dataset.corpus))


def seen_by(needs: Collection[str], data: TrainingData) -> TrainingData:
    """Return the data that a strategy's `fit` may see, by what it declares to use.

    Generated queries take the place of labels where it uses those. Without either it is shown the corpus alone.
    """
    if "pairs" in needs:
        return data if "answers" in needs else replace(data, answers={})
    pairs = data.generated if "generated" in needs else ()
    return TrainingData(data.dataset, pairs, {}, {}, data.corpus, data.seed, pseudo=bool(pairs))


def sample_pairs(pairs: Sequence[Pair], count: int, seed: int, groups: Mapping[str, str] | None = None) -> list[Pair]:
    """Return a sample of labelled pairs, drawn by seed and by query. Samples of one seed are nested.

    Each group (query id -> group) contributes in proportion to its size. Only the last query may lose some of its
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
    """Hold out a share of the labelled pairs for development.

    Queries that share a document, and equal normalised questions, stay on one side. If this ties more than half of the
    pairs together (graded judgements over few documents), shared documents may be on both sides.

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
    by_document = 2 * max((_weight(members, counts) for members in groups.members().values()), default=0) <= len(pairs)
    if not by_document:
        groups = _tied(len(queries), texts)
    room = round(share * len(pairs))
    chosen: set[str] = set()
    parts = sorted(groups.members().values(), key=lambda members: _drawn(seed, "dev", queries[members[0]]))
    for members in parts:
        if (weight := _weight(members, counts)) <= room:
            room -= weight
            chosen.update(queries[member] for member in members)
    train = [pair for pair in pairs if pair.query_id not in chosen]
    return train, [pair for pair in pairs if pair.query_id in chosen], by_document


def _tied(count: int, *keyed: Iterable[tuple[int, str]]) -> Groups:
    """Return groups of queries (by position) that share a key of the same kind."""
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
    """Return `train` without the queries of `other`, by id and on request by normalised text, and their number."""
    removed = set(train) & set(other)
    if by_text:
        removed |= repeated_queries(train, other, queries)
    return {query: docs for query, docs in train.items() if query not in removed}, len(removed)


def _drawn(seed: int, purpose: str, name: str) -> str:
    """Return a key that orders names at random for a seed, independently of the other names."""
    return hashlib.sha256(f"{seed}\0{purpose}\0{name}".encode()).hexdigest()
