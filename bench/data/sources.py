"""The labels of source datasets, on which a start is fitted before the target (multi-task warm start).

The paper's mixture is that of T-Few (Liu et al., 2022, section 3.4): one model, trained on many tasks at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.data.dataset import Dataset, Pair, Qrels, TrainingData
from bench.data.overlap import relevant
from bench.data.splits import sample_pairs, training_data
from bench.data.text import normalise
from bench.data.union import merged_corpus
from bench.errors import DataError

MOST_PAIRS = 10_000
"""Labelled pairs that one source gives at most, drawn by seed, so that a large source does not drown the others."""


def source_data(
    sources: Sequence[Dataset], target: Dataset, seed: int, test_split: str, selection_floor: int
) -> TrainingData:
    """Return the training and development pairs of all sources together, with their corpora as one.

    A query whose text repeats any query of the target is left out: a test query would be a leak, and a training query a
    label that no budget counts. Each source keeps its own test queries to itself. Its notes count what was left out.

    Args:
        sources: datasets with labels.
        target: the dataset that is adapted to afterwards.
        seed: draws the samples and the development queries.
        test_split: the split to be tested on, of the target and of each source.
        selection_floor: labels from which development queries are held out of a source.

    Raises:
        DataError: two sources have one name.
    """
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        raise DataError(f"sources {', '.join(names)}: two datasets have one name; rename a folder")
    tested = _texts(target, target.splits.get(test_split, {}))
    other = _texts(target, [query for name, qrels in target.splits.items() if name != test_split for query in qrels])
    pairs: list[Pair] = []
    generated: list[Pair] = []
    queries: dict[str, str] = {}
    qrels: dict[str, Mapping[str, int]] = {}
    notes: list[str] = []
    leaks = repeats = own_repeats = 0
    for source in sources:
        data = training_data(source, seed, None, test_split, selection_floor=selection_floor)
        own = {normalise(text) for text in (*data.train_queries.values(), *data.dev_queries.values())}
        leaks, repeats = leaks + len(own & tested), repeats + len(own & (other - tested))
        own_repeats += data.repeats_removed
        kept = [pair for pair in data.pairs if normalise(pair.query) not in tested | other]
        if len(kept) > MOST_PAIRS:
            notes.append(f"{MOST_PAIRS:,} of {len(kept):,} labelled pairs of source {source.name!r} were drawn")
        pairs += [_renamed(pair, source.name) for pair in sample_pairs(kept, MOST_PAIRS, seed, source.groups)]
        written = [pair for pair in data.generated if normalise(pair.query) not in tested | other]
        generated += [_renamed(pair, source.name) for pair in sample_pairs(written, MOST_PAIRS, seed, source.groups)]
        for query, text in data.dev_queries.items():
            if normalise(text) not in tested | other:
                queries[f"{source.name}:{query}"] = text
                qrels[f"{source.name}:{query}"] = {
                    f"{source.name}:{doc}": g for doc, g in data.dev_qrels[query].items()
                }
        notes += [f"source {source.name!r}: {note}" for note in data.notes]
    for count, where in ((leaks, "a test query"), (repeats, "a training or development query")):
        if count:
            notes.append(f"{count} queries of the sources repeat {where} of {target.name!r} and were removed")
    answering = relevant(target.splits.get(test_split, {})) & target.corpus.positions.keys()
    texts = {target.corpus.text_of(doc) for doc in answering}
    if shared := len({pair.document for pair in pairs} & texts):
        notes.append(f"{shared} documents that answer test queries of {target.name!r} are positives in the sources")
    return TrainingData(
        dataset="|".join(names),
        pairs=pairs,
        dev_queries=queries,
        dev_qrels=qrels,
        corpus=merged_corpus(sources),
        seed=seed,
        pseudo=all(source.info.pseudo for source in sources),
        repeats_removed=leaks + own_repeats,
        notes=tuple(notes),
        generated=generated,
    )


def combined_fingerprint(fingerprints: Sequence[str]) -> str:
    """Return the fingerprint of several datasets together; of one dataset its own, as it keeps its name too."""
    if len(fingerprints) == 1:
        return fingerprints[0]
    return hashlib.sha256("|".join(fingerprints).encode()).hexdigest()


def _texts(dataset: Dataset, queries: Sequence[str] | Qrels) -> set[str]:
    return {normalise(dataset.queries[query]) for query in queries}


def _renamed(pair: Pair, source: str) -> Pair:
    return replace(pair, query_id=f"{source}:{pair.query_id}", doc_id=f"{source}:{pair.doc_id}")
