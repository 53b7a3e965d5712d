"""Reads similarity datasets such as the STS benchmark: JSON Lines of two sentences and a graded similarity."""

from __future__ import annotations

from pathlib import Path

from bench.data.dataset import DatasetInfo, SimilarityDataset
from bench.data.lines import find_file, read_objects
from bench.data.text import is_blank, without_surrogates
from bench.errors import DataError, did_you_mean

_MOST = 1e9
"""No similarity is graded as high."""
SPLITS = ("train", "dev", "test")


def is_similarity(folder: Path) -> bool:
    """Whether a folder has the form of a similarity dataset: no corpus, but a split of sentence pairs."""
    return find_file(folder, "corpus.jsonl") is None and any(find_file(folder, f"{split}.jsonl") for split in SPLITS)


def read_similarity(folder: Path, info: DatasetInfo, split: str = "test") -> SimilarityDataset:
    """Read `<split>.jsonl`, whose objects have `s1`, `s2` (strings) and `score` (a number; 0 to 5 in STS).

    Raises:
        DataError: a missing split, malformed JSON, a missing field, a score that is not a number, or fewer than two
            pairs. The message names file and line.
    """
    path = find_file(folder, f"{split}.jsonl")
    if path is None:
        present = [name for name in SPLITS if find_file(folder, f"{name}.jsonl")]
        raise DataError(
            f"{folder / f'{split}.jsonl'}: no split {split!r}{did_you_mean(split, present) or '.'} "
            f"Present: {', '.join(present) or 'none'}."
        )
    first: list[str] = []
    second: list[str] = []
    scores: list[float] = []
    for number, row in read_objects(path):
        for key in ("s1", "s2"):
            if not isinstance(row.get(key), str):
                raise DataError(f"{path}:{number}: {key!r} is missing or not a string")
        score = row.get("score")
        if isinstance(score, bool) or not isinstance(score, int | float) or not -_MOST < score < _MOST:
            raise DataError(f"{path}:{number}: 'score' is missing or not a number: {repr(score)[:40]}")
        one, other = ("" if is_blank(row[key]) else without_surrogates(row[key]) for key in ("s1", "s2"))
        first.append(one)
        second.append(other)
        scores.append(float(score))
    if len(scores) < 2:
        raise DataError(f"{path}: {len(scores)} pairs; a rank correlation needs two or more")
    return SimilarityDataset(info, first, second, scores)
