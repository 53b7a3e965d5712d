"""Reads retrieval datasets from the Hugging Face hub and keeps them as BEIR folders.

The `datasets` library downloads the files: it checks them and resumes an interrupted download.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.data.catalogue import CatalogueEntry, Hub
from bench.data.dataset import Corpus, Dataset, DatasetInfo
from bench.data.folders import is_dataset, new_folder
from bench.data.stored import Joined, StoredTexts
from bench.data.write import write_files
from bench.errors import DataError

_QRELS = ("qrels", "default")
"""Names under which repositories keep their judgements."""
_TIMEOUT_SECONDS = 10.0


def fetch_hub(hub: Hub, folder: Path, entry: CatalogueEntry | None = None) -> Path:
    """Read a dataset from the hub into a BEIR folder and return the folder. It appears when it is complete.

    Args:
        hub: the repository. With one split of judgements, that split is the test split, whatever its name.
        folder: the folder to make.
        entry: the catalogue's entry, which the dataset must agree with.

    Raises:
        DataError: the hub cannot be reached, or the repository does not hold this dataset.
    """
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if is_dataset(folder):
            return folder
        dataset = read_hub(hub, folder.name)
        if entry is not None:
            _require_agreement(dataset, entry)
        with new_folder(folder) as temporary:
            write_files(dataset, temporary)
    return folder


def read_hub(hub: Hub, name: str) -> Dataset:
    """Read corpus, queries and judgements from the hub. A judgement without a `score` has grade 1.

    Raises:
        DataError: the hub cannot be reached, or the repository does not have the form of a retrieval dataset.
    """
    import datasets

    where = f"hub:{hub.repo}"
    options: dict[str, Any] = {"revision": hub.revision} if hub.revision else {}
    try:
        _require_reachable(hub)
        qrels_repo = hub.qrels_repo or hub.repo
        qrels_name = hub.qrels or _qrels_name(datasets.get_dataset_config_names(qrels_repo, **options), where)
        corpus = _all_rows(datasets.load_dataset(hub.repo, hub.corpus, **options))
        queries = _all_rows(datasets.load_dataset(hub.repo, hub.queries, **options))
        judged = datasets.load_dataset(qrels_repo, qrels_name, **({} if hub.qrels_repo else options))
    except DataError:
        raise
    except Exception as error:  # errors of datasets, of fsspec and of the hub's client have no common base
        raise DataError(f"{where}: cannot be read: {type(error).__name__}: {error}") from error
    return _assemble(where, name, corpus, queries, _our_splits(where, judged, hub.splits))


def _require_reachable(hub: Hub) -> None:
    """Ask the hub for the repository. Without a network this fails at once; `datasets` would try for half a minute.

    In the hub's offline mode `datasets` reads its cache, so nothing is asked.
    """
    from huggingface_hub import HfApi, is_offline_mode

    if not Path(hub.repo).is_dir() and not is_offline_mode():
        HfApi().dataset_info(hub.repo, revision=hub.revision or None, timeout=_TIMEOUT_SECONDS)


def _require_agreement(dataset: Dataset, entry: CatalogueEntry) -> None:
    """Refuse a copy that lacks documents or splits of the catalogue's entry.

    Raises:
        DataError: the number of documents differs, or a split is missing.
    """
    if entry.documents and len(dataset.corpus) != entry.documents:
        raise DataError(f"{dataset.info.source}: {len(dataset.corpus)} documents, the catalogue has {entry.documents}")
    if missing := [split for split in entry.splits if split not in dataset.splits]:
        raise DataError(f"{dataset.info.source}: no split {', '.join(missing)}")


def _qrels_name(names: Iterable[str], where: str) -> str:
    present = list(names)
    for name in _QRELS:
        if name in present:
            return name
    raise DataError(f"{where}: no configuration {' or '.join(_QRELS)} for the judgements; it has {', '.join(present)}")


def _all_rows(parts: Mapping[str, Iterable[Mapping[str, Any]]]) -> Iterable[Mapping[str, Any]]:
    """Yield the rows of all splits of a corpus or of the queries. Most repositories have one split."""
    return (row for part in parts.values() for row in part)


def _our_splits(where: str, parts: Mapping[str, Any], splits: Mapping[str, str]) -> dict[str, Any]:
    """Return the splits of the judgements under our names.

    Raises:
        DataError: a named split is missing.
    """
    if splits:
        if missing := [theirs for theirs in splits.values() if theirs not in parts]:
            raise DataError(f"{where}: no split {', '.join(missing)}; there are {', '.join(parts)}")
        return {ours: parts[theirs] for ours, theirs in splits.items()}
    if len(parts) == 1:
        return {"test": next(iter(parts.values()))}
    return {{"validation": "dev"}.get(name, name): rows for name, rows in parts.items()}


def _assemble(
    where: str, name: str, corpus: Iterable[Mapping[str, Any]], queries: Iterable[Mapping[str, Any]], judged: Any
) -> Dataset:
    """Build the dataset. Texts of documents go to a file, as a corpus of the hub may be larger than memory."""
    documents: dict[str, None] = {}
    titles, bodies = StoredTexts(), StoredTexts()
    try:
        for row in corpus:
            if (doc := str(row["_id"])) not in documents:
                documents[doc] = None
                titles.append(str(row.get("title") or ""))
                bodies.append(str(row["text"] or ""))
        texts = {str(row["_id"]): str(row["text"] or "") for row in queries}
        splits: dict[str, dict[str, dict[str, int]]] = {}
        for split, rows in judged.items():
            for row in rows:
                query, doc = str(row["query-id"]), str(row["corpus-id"])
                if query in texts and doc in documents:
                    splits.setdefault(split, {}).setdefault(query, {})[doc] = int(row.get("score", 1))
    except KeyError as error:
        raise DataError(f"{where}: a row has no field {error}; expected _id, text, query-id, corpus-id") from error
    if not documents or not splits:
        raise DataError(f"{where}: no documents, or no judgements of its own queries and documents")
    corpus_read = Corpus(list(documents), Joined(titles, bodies), titles, bodies)
    return Dataset(DatasetInfo(name, source=where), corpus_read, texts, splits)
