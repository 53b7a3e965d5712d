"""The dataset `pydocs`: docstrings of this project's dependencies, a real corpus that needs no download.

The query is an object's summary sentence. The document is its signature without the name, and the rest of the
docstring. Packages and versions are fixed. Near-duplicates are merged. The splits are by module, and an entry that
resembles one of a more important split is dropped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.data.dataset import Corpus, Dataset, DatasetInfo
from bench.data.docstrings import Docstring, read_package, source_files, source_folder
from bench.data.duplicates import Groups, clusters, near_pairs
from bench.errors import DataError, StoreError
from bench.records import with_digest, without_digest

EXTRACTION = 3
"""Version of the extraction and the splits, which the cache's key holds. Raise it when either changes."""
SHARES = {"test": 0.35, "dev": 0.15, "train": 0.5}
"""Split -> share of the pairs. A pair that resembles one of an earlier split in this order is dropped."""
COPY = 0.8
"""Jaccard index (three-word shingles) from which documents are copies. One of them is kept."""
RESEMBLES_DOCUMENT = 0.5
RESEMBLES_QUERY = 0.6
"""Jaccard index of documents (three-word shingles) and summaries (words) from which both stay in one split."""
SMALLEST = 20
"""The smallest number of pairs that fills every split."""

Split = dict[str, list[Docstring]]


def read_pydocs(info: DatasetInfo, packages: Mapping[str, str], size: int | None, cache: Path | None = None) -> Dataset:
    """Read the docstrings of packages as a retrieval dataset with the splits train, dev and test.

    Args:
        info: name and settings of the dataset.
        packages: distribution -> version that the reference scores use, or "" for any version.
        size: number of pairs and of documents. Smaller sizes are contained in larger ones. None takes all pairs.
        cache: folder for the parsed pairs, which take some seconds to make. None makes them anew.

    Raises:
        DataError: a package is missing, or the size is below 20 or above the number of pairs.
    """
    splits = _cached(packages, cache)
    total = sum(map(len, splits.values()))
    if size is not None and not SMALLEST <= size <= total:
        raise DataError(f"dataset {info.name!r}: size {size} is not between {SMALLEST} and {total}")
    chosen = _sample(splits, size if size is not None else total)
    entries = sorted((entry for members in chosen.values() for entry in members), key=lambda entry: entry.name)
    return Dataset(
        info,
        Corpus([entry.name for entry in entries], [entry.document for entry in entries]),
        {_query_id(entry): entry.query for entry in entries},
        {split: {_query_id(entry): {entry.name: 1} for entry in members} for split, members in chosen.items()},
        tuple(_version_warnings(packages)),
        {_query_id(entry): entry.module for entry in entries},
    )


def make_splits(entries: Sequence[Docstring]) -> Split:
    """Return the splits, without near-duplicates and without entries that resemble one of another split.

    Modules are ordered by a hash of their names. Each one goes to the split furthest below its share. The entries of a
    split are ordered by hash too, so that any prefix is a sample.
    """
    kept, alike = _collapse(sorted(entries, key=lambda entry: entry.name))
    modules: dict[str, list[int]] = {}
    for position, entry in enumerate(kept):
        modules.setdefault(entry.module, []).append(position)
    sizes = dict.fromkeys(SHARES, 0)
    assigned: dict[int, str] = {}
    for module in sorted(modules, key=_hash):
        split = min(SHARES, key=lambda split: sizes[split] / SHARES[split])
        sizes[split] += len(modules[module])
        assigned.update(dict.fromkeys(modules[module], split))
    splits: Split = {split: [] for split in SHARES}
    for members in alike.members().values():
        first = min((assigned[member] for member in members), key=list(SHARES).index)
        splits[first].extend(kept[member] for member in members if assigned[member] == first)
    return {split: sorted(splits[split], key=lambda entry: _hash(entry.name)) for split in SHARES}


def _collapse(entries: Sequence[Docstring]) -> tuple[list[Docstring], Groups]:
    """Return one entry of each set of copies (equal summaries, nearly equal documents), and groups of similar ones."""
    documents = near_pairs([entry.document for entry in entries], RESEMBLES_DOCUMENT)
    queries = near_pairs([entry.query for entry in entries], RESEMBLES_QUERY, size=1)
    copies = clusters(len(entries), (pair for pair in documents if pair.similarity >= COPY))
    for pair in queries:
        if pair.copy:
            copies.union(pair.first, pair.second)
    place = {position: number for number, position in enumerate(sorted(copies.members()))}
    alike = Groups(len(place))
    for pair in documents + queries:
        alike.union(place[copies.find(pair.first)], place[copies.find(pair.second)])
    return [entries[position] for position in place], alike


def _sample(splits: Split, size: int) -> Split:
    """Return `size` pairs, from each split in proportion to its share while it has enough."""
    order = sorted(
        ((rank + 0.5) / SHARES[split], split, entry)
        for split, entries in splits.items()
        for rank, entry in enumerate(entries)
    )
    sample: Split = {split: [] for split in SHARES}
    for _, split, entry in order[:size]:
        sample[split].append(entry)
    return sample


def _query_id(entry: Docstring) -> str:
    return f"q-{entry.name}"


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _version_warnings(packages: Mapping[str, str]) -> list[str]:
    warnings = []
    for package, pinned in packages.items():
        installed = importlib.metadata.version(package)
        if not pinned:
            warnings.append(f"pydocs fixes no version of {package}: these scores hold for {installed} alone")
        elif installed != pinned:
            warnings.append(
                f"pydocs uses {package} {pinned}, but {installed} is installed: do not compare scores across machines"
            )
    return warnings


def _cached(packages: Mapping[str, str], cache: Path | None) -> Split:
    folders = {package: source_folder(package) for package in packages}
    digest = hashlib.sha256(str(EXTRACTION).encode())
    for package, folder in sorted(folders.items()):
        digest.update(package.encode())
        for source in source_files(folder):
            digest.update(f"{source.relative_to(folder).as_posix()} {source.stat().st_size}\n".encode())
    path = cache / f"pydocs-{digest.hexdigest()[:16]}.json" if cache is not None else None
    if path is not None and (splits := read_cache(path)) is not None:
        return splits
    splits = make_splits([entry for folder in folders.values() for entry in read_package(folder)])
    if path is not None:
        write_cache(path, splits)
    return splits


def read_cache(path: Path) -> Split | None:
    """Return the cached splits, or None where the file is missing or is not what was written."""
    try:
        raw = without_digest(json.loads(path.read_text(encoding="utf-8")))
        return {split: [Docstring(**entry) for entry in raw[split]] for split in SHARES}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, StoreError):
        return None


def write_cache(path: Path, splits: Split) -> None:
    """Keep the splits with a digest of their content."""
    from bench.data.files import write_atomically

    values = {split: [dataclasses.asdict(entry) for entry in members] for split, members in splits.items()}
    try:
        write_atomically(path, json.dumps(with_digest(values)).encode())
    except OSError:
        return  # without a cache the next call takes some seconds more
