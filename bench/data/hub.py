"""Retrieval datasets on the Hugging Face hub, read through the `datasets` library and kept as BEIR folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.data.catalogue import Hub
from bench.data.dataset import Corpus, Dataset, DatasetInfo
from bench.data.folders import is_dataset, new_folder
from bench.data.write import write_files
from bench.errors import DataError

_QRELS = ("qrels", "default")
"""Names under which repositories keep their judgements."""


def hub_of(repo: str) -> Hub:
    """Return what is assumed of a repository that no catalogue knows: configurations corpus, queries and qrels.

    Where there is one split of judgements it is the test split, whatever its name.
    """
    return Hub(repo=repo)


def fetch_hub(hub: Hub, folder: Path) -> Path:
    """Read a dataset from the hub into a BEIR folder and return it. Nothing is there before it is whole.

    Raises:
        DataError: it cannot be reached, or does not have the form of a retrieval dataset.
    """
    if is_dataset(folder):
        return folder
    dataset = read_hub(hub, folder.name)
    with new_folder(folder) as temporary:
        write_files(dataset, temporary)
    return folder


def read_hub(hub: Hub, name: str) -> Dataset:
    """Read corpus, queries and judgements (grade 1 where there is no `score`) from the hub.

    Raises:
        DataError: it cannot be reached, or does not have the form of a retrieval dataset.
    """
    import datasets

    where = f"hub:{hub.repo}"
    options: dict[str, Any] = {"revision": hub.revision} if hub.revision else {}
    try:
        qrels_repo = hub.qrels_repo or hub.repo
        qrels_name = hub.qrels or _qrels_name(datasets.get_dataset_config_names(qrels_repo, **options), where)
        corpus = _only_split(datasets.load_dataset(hub.repo, hub.corpus, **options))
        queries = _only_split(datasets.load_dataset(hub.repo, hub.queries, **options))
        judged = datasets.load_dataset(qrels_repo, qrels_name, **({} if hub.qrels_repo else options))
    except DataError:
        raise
    except (
        Exception
    ) as error:  # the library raises errors of many kinds, of its own, of fsspec's and of the hub's client
        raise DataError(f"{where}: cannot be read: {type(error).__name__}: {error}") from error
    return _assemble(where, name, corpus, queries, _named(where, judged, hub.splits))


def _qrels_name(names: Iterable[str], where: str) -> str:
    found = list(names)
    for name in _QRELS:
        if name in found:
            return name
    raise DataError(f"{where}: no configuration {' or '.join(_QRELS)} for the judgements; it has {', '.join(found)}")


def _only_split(parts: Mapping[str, Iterable[Mapping[str, Any]]]) -> Iterable[Mapping[str, Any]]:
    """Chain the splits of a corpus or of the queries, mostly one."""
    return (row for part in parts.values() for row in part)


def _named(where: str, parts: Mapping[str, Any], splits: Mapping[str, str]) -> dict[str, Any]:
    """Give the splits of the judgements our names."""
    if splits:
        missing = [theirs for theirs in splits.values() if theirs not in parts]
        if missing:
            raise DataError(f"{where}: no split {', '.join(missing)}; there are {', '.join(parts)}")
        return {ours: parts[theirs] for ours, theirs in splits.items()}
    if len(parts) == 1:
        return {"test": next(iter(parts.values()))}
    return {{"validation": "dev"}.get(name, name): rows for name, rows in parts.items()}


def _assemble(
    where: str, name: str, corpus: Iterable[Mapping[str, Any]], queries: Iterable[Mapping[str, Any]], judged: Any
) -> Dataset:
    try:
        documents = {str(row["_id"]): (str(row.get("title") or ""), str(row["text"] or "")) for row in corpus}
        texts = {str(row["_id"]): str(row["text"] or "") for row in queries}
        splits: dict[str, dict[str, dict[str, int]]] = {}
        for split, rows in judged.items():
            qrels = splits.setdefault(split, {})
            for row in rows:
                query, doc = str(row["query-id"]), str(row["corpus-id"])
                if query in texts and doc in documents:
                    qrels.setdefault(query, {})[doc] = int(row.get("score", 1))
    except KeyError as error:
        raise DataError(f"{where}: a row has no field {error}; expected _id, text, query-id, corpus-id") from error
    if not documents or not any(splits.values()):
        raise DataError(f"{where}: no documents, or no judgements of its own queries and documents")
    titles, bodies = [title for title, _ in documents.values()], [body for _, body in documents.values()]
    return Dataset(
        DatasetInfo(name, source=where),
        Corpus(list(documents), [f"{title} {body}".strip() for title, body in documents.values()], titles, bodies),
        texts,
        {split: qrels for split, qrels in splits.items() if qrels},
    )
