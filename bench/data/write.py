"""Writes datasets as BEIR folders, complete or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from bench.data.answers import ANSWERS, write_answers
from bench.data.beir import HEADER
from bench.data.dataset import Dataset
from bench.data.files import named_in_errors
from bench.data.folders import DESCRIPTION, new_folder


def write_dataset(dataset: Dataset, folder: Path) -> None:
    """Write a dataset as a BEIR folder with a `dataset.toml` that describes it.

    Raises:
        BenchError: the folder exists and is not empty, or cannot be made.
    """
    with new_folder(folder) as temporary, named_in_errors(folder):
        write_files(dataset, temporary)


def write_files(dataset: Dataset, folder: Path) -> None:
    """Write a dataset's files into an existing folder: documents in order, the rest sorted by query."""
    corpus = dataset.corpus
    titles = corpus.titles or [""] * len(corpus)
    bodies = corpus.bodies or corpus.texts
    with (folder / "corpus.jsonl").open("w", encoding="utf-8", newline="\n") as stream:
        for doc, title, body in zip(corpus.ids, titles, bodies, strict=True):
            stream.write(json.dumps({"_id": doc, "title": title, "text": body}, ensure_ascii=False) + "\n")
    with (folder / "queries.jsonl").open("w", encoding="utf-8", newline="\n") as stream:
        for query, text in sorted(dataset.queries.items()):
            metadata = {"group": dataset.groups[query]} if query in dataset.groups else {}
            stream.write(json.dumps({"_id": query, "text": text, "metadata": metadata}, ensure_ascii=False) + "\n")
    (folder / "qrels").mkdir()
    for split, qrels in dataset.splits.items():
        with (folder / "qrels" / f"{split}.tsv").open("w", encoding="utf-8", newline="\n") as stream:
            stream.write("\t".join(HEADER) + "\n")
            for query, docs in sorted(qrels.items()):
                stream.writelines(f"{query}\t{doc}\t{grade}\n" for doc, grade in sorted(docs.items()))
    if dataset.answers:
        write_answers(dataset.answers, folder / ANSWERS)
    (folder / DESCRIPTION).write_text(description(dataset), encoding="utf-8")


def description(dataset: Dataset) -> str:
    """Return the `dataset.toml` of a dataset, in the form of the catalogue's files."""
    info = dataset.info
    values: dict[str, object] = {
        "kind": "retrieval",
        "title": info.title,
        "role": info.role,
        "licence": info.licence,
        "source": info.source,
        "splits": list(dataset.splits),
        "documents": len(dataset.corpus),
        "drop_same_id": info.drop_same_id,
        "pseudo": info.pseudo,
    }
    if info.generated_by:
        values["generated_by"] = info.generated_by
    if info.max_length is not None:
        values["max_length"] = info.max_length
    lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
    counts: Mapping[str, int] = {split: len(qrels) for split, qrels in dataset.splits.items()}
    lines += ["", "[queries]", *(f"{json.dumps(split)} = {count}" for split, count in counts.items())]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """Return a value as TOML. Strings, numbers, booleans and lists are as in JSON, except the delete character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
