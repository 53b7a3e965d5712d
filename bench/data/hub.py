"""Reads retrieval datasets from the Hugging Face hub and keeps them as BEIR folders.

The `datasets` library downloads the files: it checks them and resumes an interrupted download.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.data.beir import whole_grade
from bench.data.catalogue import CatalogueEntry, Hub
from bench.data.dataset import Corpus, Dataset, DatasetInfo
from bench.data.folders import is_dataset, new_folder
from bench.data.stored import Joined, StoredTexts
from bench.data.write import write_files
from bench.errors import DataError

_QRELS = ("qrels", "default")
"""Names under which repositories keep their judgements."""
_FIELDS = {
    "_id": ("_id", "id", "doc_id", "docid", "query_id", "corpus_id", "corpus-id", "query-id", "qid", "pid"),
    "text": ("text", "contents", "content", "passage", "query", "body"),
    "query": ("query-id", "query_id", "qid", "query"),
    "corpus": ("corpus-id", "corpus_id", "doc_id", "docid", "doc-id", "pid"),
    "score": ("score", "relevance", "label", "rel", "grade"),
}
"""Names of the fields of rows, the usual one first."""
_TIMEOUT_SECONDS = 10.0


def fetch_hub(
    hub: Hub,
    folder: Path,
    entry: CatalogueEntry | None = None,
    config: str = "",
    relevant_from: float | None = None,
) -> Path:
    """Read a dataset from the hub into a BEIR folder and return the folder. It appears when it is complete.

    Args:
        hub: the repository. With one split of judgements, that split is the test split, whatever its name.
        folder: the folder to make.
        entry: the catalogue's entry, which the dataset must agree with.
        config: see `read_hub`.
        relevant_from: see `read_hub`.

    Raises:
        DataError: the hub cannot be reached, or the repository does not hold this dataset.
    """
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if is_dataset(folder):
            return folder
        dataset = read_hub(hub, folder.name, config, relevant_from)
        if entry is not None:
            _require_agreement(dataset, entry)
        with new_folder(folder) as temporary:
            write_files(dataset, temporary)
    return folder


def read_hub(hub: Hub, name: str, config: str = "", relevant_from: float | None = None) -> Dataset:
    """Read corpus, queries and judgements from the hub. A judgement without a `score` has grade 1.

    Args:
        hub: the repository.
        name: the name of the dataset.
        config: the part of the names of its configurations that chooses a language, such as `en` in `en-corpus`.
        relevant_from: the score from which a document is relevant. None takes scores as grades, which must be whole.

    Raises:
        DataError: the hub cannot be reached, or the repository does not have the form of a retrieval dataset.
    """
    import datasets

    where = f"hub:{hub.repo}"
    options: dict[str, Any] = {"revision": hub.revision} if hub.revision else {}
    try:
        _require_reachable(hub)
        qrels_repo = hub.qrels_repo or hub.repo
        names = [] if hub.qrels else list(datasets.get_dataset_config_names(qrels_repo, **options))
        qrels_name = hub.qrels or _config(names, "qrels", config, where)
        corpus_name, queries_name = hub.corpus, hub.queries
        if config:
            corpus_name, queries_name = (_config(names, name, config, where) for name in (corpus_name, queries_name))
        corpus = _all_rows(datasets.load_dataset(hub.repo, corpus_name, **options))
        queries = _all_rows(datasets.load_dataset(hub.repo, queries_name, **options))
        judged = datasets.load_dataset(qrels_repo, qrels_name, **({} if hub.qrels_repo else options))
    except DataError:
        raise
    except Exception as error:  # errors of datasets, of fsspec and of the hub's client have no common base
        raise DataError(f"{where}: cannot be read: {type(error).__name__}: {error}") from error
    return _assemble(where, name, corpus, queries, _our_splits(where, judged, hub.splits), relevant_from)


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


def _config(names: list[str], name: str, config: str, where: str) -> str:
    """Return the configuration that holds the corpus, the queries or the judgements, for a language where one is named.

    Raises:
        DataError: there is none. The message lists what there is.
    """
    if config:
        written = [form.format(config, name) for form in ("{0}-{1}", "{1}-{0}", "{0}_{1}", "{1}_{0}", "{0}/{1}")]
        return _one(names, (*written, *([config] if name == "qrels" else [])), f"?config={config}: ", where)
    return _one(names, _QRELS if name == "qrels" else (name,), "", where)


def _one(names: list[str], wanted: Iterable[str], option: str, where: str) -> str:
    wanted = list(wanted)
    for name in wanted:
        if name in names:
            return name
    prefixes = sorted(name.removesuffix("-corpus") for name in names if name.endswith("-corpus"))
    hint = f"; choose one of its parts: {where}?config={prefixes[0]}" if prefixes and not option else ""
    raise DataError(f"{where}: {option}no configuration {' or '.join(wanted)}; it has {', '.join(names)}{hint}")


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
    where: str,
    name: str,
    corpus: Iterable[Mapping[str, Any]],
    queries: Iterable[Mapping[str, Any]],
    judged: Any,
    relevant_from: float | None = None,
) -> Dataset:
    """Build the dataset. Texts of documents go to a file, as a corpus of the hub may be larger than memory.

    Judgements of unknown queries and documents stay: whoever reads the folder counts them (`bench.data.beir`).
    """
    documents: dict[str, None] = {}
    titles, bodies = StoredTexts(), StoredTexts()
    for row in corpus:
        if (doc := str(_field(row, "_id", where))) not in documents:
            documents[doc] = None
            titles.append(str(row.get("title") or ""))
            bodies.append(str(_field(row, "text", where) or ""))
    texts = {str(_field(row, "_id", where)): str(_field(row, "text", where) or "") for row in queries}
    splits: dict[str, dict[str, dict[str, int]]] = {}
    own = 0
    for split, rows in judged.items():
        for row in rows:
            query, doc = str(_field(row, "query", where)), str(_field(row, "corpus", where))
            own += query in texts and doc in documents
            grade = _grade(_field(row, "score", where, 1), relevant_from, where)
            splits.setdefault(split, {}).setdefault(query, {})[doc] = grade
    if not documents or not own:
        raise DataError(f"{where}: no documents, or no judgements of its own queries and documents")
    corpus_read = Corpus(list(documents), Joined(titles, bodies), titles, bodies)
    return Dataset(DatasetInfo(name, source=where), corpus_read, texts, splits)


def _field(row: Mapping[str, Any], field: str, where: str, default: Any = None) -> Any:
    """Return the value of a row's field under any of its usual names.

    Raises:
        DataError: the row lacks the field, and there is no default.
    """
    for name in _FIELDS[field]:
        if name in row:
            return row[name]
    if default is not None:
        return default
    raise DataError(
        f"{where}: a row has no field {' or '.join(_FIELDS[field][:2])!r}; it has {', '.join(map(str, row))}"
    )


def _grade(score: Any, relevant_from: float | None, where: str) -> int:
    """Return the grade of a score.

    Raises:
        DataError: it is not a number, or not whole where no threshold is given.
    """
    if relevant_from is not None:
        try:
            return int(float(score) >= relevant_from)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{where}: score {repr(score)[:40]} is not a number") from error
    grade = whole_grade(score)
    if grade is None:
        raise DataError(
            f"{where}: score {repr(score)[:40]} is not a whole grade. Name the score from which a document is "
            f"relevant: {where}?relevant_from=0.5"
        )
    return grade
