"""The facts that planning needs of a dataset, so that its texts need not stay in memory."""

from __future__ import annotations

from dataclasses import dataclass

from bench.data.dataset import Dataset, SimilarityDataset
from bench.data.splits import DEV_NAMES, generated_pairs
from bench.errors import DataError


@dataclass(frozen=True)
class DatasetSummary:
    """The facts that planning needs of a dataset."""

    requested: str
    name: str
    fingerprint: str
    max_length: int
    similarity: bool
    splits: tuple[str, ...] = ()
    n_docs: int = 0
    n_queries: int = 0
    doc_chars: float = 0.0
    """Mean characters of a document."""
    warnings: tuple[str, ...] = ()
    generated: int = 0
    """Pairs with queries that a language model wrote, outside the split to measure on."""
    answered: int = 0
    """Queries with a gold answer outside the split to measure on, from which a strategy may learn."""


@dataclass(frozen=True)
class SourceSummary:
    """The facts that planning needs of a dataset that a start is fitted on."""

    requested: str
    name: str
    fingerprint: str
    has_labels: bool
    """Whether it has a training or a development split."""


def summarize_source(requested: str, dataset: Dataset | SimilarityDataset) -> SourceSummary:
    """Return the summary of a source.

    Raises:
        DataError: it holds sentence pairs.
    """
    if isinstance(dataset, SimilarityDataset):
        raise DataError(f"sources={requested}: it holds sentence pairs and no corpus to search")
    has_labels = any(split in dataset.splits for split in ("train", *DEV_NAMES))
    return SourceSummary(requested, dataset.name, dataset.fingerprint, has_labels)


def summarize_dataset(
    requested: str, dataset: Dataset | SimilarityDataset, split: str, max_length: int = 0
) -> DatasetSummary:
    """Return the summary of a dataset.

    Args:
        requested: the name or folder by which the user requested it.
        dataset: the dataset.
        split: the split to measure on.
        max_length: tokens after which a text is cut; 0 is the dataset's own limit, or else the model's (0 again).

    Raises:
        DataError: the dataset has no such split.
    """
    length = max_length or dataset.info.max_length or 0
    if isinstance(dataset, SimilarityDataset):
        texts = [*dataset.first, *dataset.second]
        characters = sum(map(len, texts)) / max(len(texts), 1)
        return DatasetSummary(
            requested, dataset.name, dataset.fingerprint, length, True, n_docs=len(texts), doc_chars=characters
        )
    return DatasetSummary(
        requested,
        dataset.name,
        dataset.fingerprint,
        length,
        similarity=False,
        splits=tuple(sorted(dataset.splits)),
        n_docs=len(dataset.corpus),
        n_queries=len(dataset.qrels(split)),
        doc_chars=sum(map(len, dataset.corpus.texts)) / max(len(dataset.corpus), 1),
        warnings=tuple(dataset.warnings),
        generated=len(generated_pairs(dataset, split)),
        answered=sum(
            bool(dataset.answers.get(query))
            for query in {query for name, qrels in dataset.splits.items() if name != split for query in qrels}
        ),
    )
