"""What planning needs of a dataset once it has been read."""

from __future__ import annotations

from dataclasses import dataclass

from bench.data.dataset import Dataset, SimilarityDataset


@dataclass(frozen=True)
class DatasetSummary:
    """What planning needs of a dataset, so that its texts need not stay in memory."""

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


def summarize_dataset(
    asked: str, found: Dataset | SimilarityDataset, split: str, max_length: int = 0
) -> DatasetSummary:
    """Return the facts of a dataset.

    Args:
        asked: how it was asked for.
        found: the dataset.
        split: the split to be measured on.
        max_length: tokens a text is cut to; 0 is the dataset's own limit, or else the model's (0 again).

    Raises:
        DataError: there is no such split.
    """
    length = max_length or found.info.max_length or 0
    if isinstance(found, SimilarityDataset):
        texts = [*found.first, *found.second]
        characters = sum(map(len, texts)) / max(len(texts), 1)
        return DatasetSummary(
            asked, found.name, found.fingerprint, length, True, n_docs=len(texts), doc_chars=characters
        )
    return DatasetSummary(
        asked,
        found.name,
        found.fingerprint,
        length,
        similarity=False,
        splits=tuple(sorted(found.splits)),
        n_docs=len(found.corpus),
        n_queries=len(found.qrels(split)),
        doc_chars=sum(map(len, found.corpus.texts)) / max(len(found.corpus), 1),
        warnings=tuple(found.warnings),
    )
