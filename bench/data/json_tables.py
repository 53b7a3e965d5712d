"""Reads JSON files as tables: arrays of objects, columns of values, SQuAD's files, and LlamaIndex's datasets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.data.lines import read_content
from bench.errors import DataError

Rows = list[dict[str, Any]]
_BETWEEN = re.compile(r"[\s,]*")
_LLAMA = ("queries", "corpus", "relevant_docs")
"""Keys of LlamaIndex's `EmbeddingQAFinetuneDataset`: id -> question, id -> passage, id of a question -> ids."""


def read_json(path: Path) -> tuple[Rows, dict[str, str], list[str]]:
    """Return the rows of a JSON file, its passages by id where it keeps them apart, and notes.

    Raises:
        DataError: the file is not JSON, or holds no table. The message names the line where it is not JSON.
    """
    content = load_json(path)
    notes: list[str] = []
    if isinstance(content, Mapping) and all(isinstance(content.get(key), Mapping) for key in _LLAMA):
        return *_llama_index(path, content, notes), notes
    rows = _rows(content)
    if rows is None:
        raise DataError(
            f"{path}: the JSON holds no table: expected an array of objects, or one of SQuAD's or LlamaIndex's files"
        )
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{path}, row {number}: expected an object, found {type(row).__name__}: {repr(row)[:60]}")
    return [flat for row in rows for flat in _flattened(row)], {}, notes


def load_json(path: Path) -> Any:
    """Return the content of a JSON file. Several values that follow each other are a list.

    Raises:
        DataError: the file is not UTF-8 or not JSON, or is nested too deeply. The message names the line.
    """
    raw = read_content(path)
    try:
        return _loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8 ({error.reason}); save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise DataError(f"{path}: the JSON is nested too deeply") from error
    except ValueError as error:  # an integer of more digits than Python reads
        raise DataError(f"{path}: not read: {error}") from error


def _loads(text: str) -> Any:
    """Return the value of a text, or the list of its values. White space or a comma stands between two of them."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Extra data"):
            raise
    values, begin = [], 0
    while (begin := _BETWEEN.match(text, begin).end()) < len(text):  # type: ignore[union-attr]
        value, begin = json.JSONDecoder().raw_decode(text, begin)
        values.append(value)
    return values


def _rows(content: Any) -> Sequence[Any] | None:
    """Return the rows of an array, of an object that holds one array, or of columns of equal length."""
    if isinstance(content, list):
        return content
    if not isinstance(content, dict) or not content:
        return None
    values = list(content.values())
    if all(isinstance(value, dict) for value in values) and len({tuple(value) for value in values}) == 1:
        return [dict(zip(content, cells, strict=True)) for cells in zip(*(v.values() for v in values), strict=True)]
    lists = [value for value in values if isinstance(value, list)]
    if len(lists) == len(values) > 1 and len({len(value) for value in values}) == 1 and not _objects(values[0]):
        return [dict(zip(content, cells, strict=True)) for cells in zip(*values, strict=True)]
    tables = [value for value in lists if _objects(value)]
    return tables[0] if len(tables) == 1 else None


def _objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def _flattened(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row, or the questions of a SQuAD article (title, paragraphs of a context and questions) as rows."""
    paragraphs = row.get("paragraphs")
    if not _objects(paragraphs) or not all(_objects(each.get("qas")) for each in paragraphs or ()):
        yield row
        return
    for paragraph in paragraphs or ():
        for question in paragraph["qas"]:
            yield {"title": row.get("title"), "context": paragraph.get("context"), **question}


def _llama_index(path: Path, content: Mapping[str, Any], notes: list[str]) -> tuple[Rows, dict[str, str]]:
    corpus = {str(doc): text for doc, text in content["corpus"].items() if isinstance(text, str)}
    rows: Rows = []
    lost = 0
    for query, docs in content["relevant_docs"].items():
        known = [corpus[str(doc)] for doc in docs if str(doc) in corpus] if isinstance(docs, list) else []
        lost += (len(docs) if isinstance(docs, list) else 1) - len(known)
        rows.append({"query": content["queries"].get(query), "positive": known})
    if lost:
        notes.append(f"{path.name}: {lost} relevant passages are not in the file's corpus: left out")
    return rows, corpus
