"""Gold answers of queries: `answers.jsonl` beside the qrels, and the forms in which tables hold answers.

    {"query-id": "q1", "answers": ["42", "forty-two"]}

An empty list says that the query has no answer. A query without a line has answers that nobody has written down.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.data.dataset import Answers
from bench.data.lines import read_objects
from bench.data.text import without_surrogates
from bench.errors import DataError, did_you_mean

ANSWERS = "answers.jsonl"
_QUERY, _TEXTS = "query-id", "answers"
_SHOWN = 3
"""Number of lines that an error names. It counts the rest."""


def read_answers(path: Path, queries: Mapping[str, str], warnings: list[str]) -> Answers:
    """Read the answers of a dataset's queries.

    Args:
        path: the file, gzipped or not.
        queries: id -> text of the dataset's queries. Answers to other queries are left out, with a warning.
        warnings: sentences about what was left out are appended.

    Raises:
        DataError: malformed JSON, a missing key, an answer that is no text, a query with two lines, or mostly unknown
            queries. The message names file and line.
    """
    answers: dict[str, tuple[str, ...]] = {}
    lines: dict[str, int] = {}
    unknown: list[str] = []
    for number, row in read_objects(path):
        query = _query(path, number, row)
        if query in lines:
            raise DataError(f"{path}:{number}: second line for query {query!r}, the first is line {lines[query]}")
        lines[query] = number
        if _TEXTS not in row:
            raise DataError(f"{path}:{number}: no {_TEXTS!r}{did_you_mean(_TEXTS, row) or '.'} Fields: {_fields(row)}")
        texts = answer_texts(row[_TEXTS])
        if texts is None:
            raise DataError(
                f"{path}:{number}: {_TEXTS!r} is not a list of texts that are not empty. An empty list says that the "
                "query has no answer"
            )
        if query in queries:
            answers[query] = texts
        else:
            unknown.append(f"{path}:{number}: query {query!r} is not in queries.jsonl")
    if 2 * len(unknown) > len(lines):
        more = f"\n(and {len(unknown) - _SHOWN} more such lines)" if len(unknown) > _SHOWN else ""
        raise DataError("\n".join(unknown[:_SHOWN]) + more)
    if unknown:
        warnings.append(f"{path.name}: {len(unknown)} lines name queries that queries.jsonl lacks: left out")
    return answers


def answer_texts(value: Any) -> tuple[str, ...] | None:
    """Return the answers in a value, each text once and without outer spaces; None where it is not a list of answers.

    The forms are a list of texts, SQuAD's list of objects with a `text`, and the Hugging Face form of SQuAD, an object
    with a list of texts. An empty list says that there is no answer.
    """
    if isinstance(value, Mapping):
        value = value.get("text")
    if not isinstance(value, list | tuple):
        return None
    found = [each.get("text") if isinstance(each, Mapping) else each for each in value]
    texts = [without_surrogates(text).strip() for text in found if isinstance(text, str) and text.strip()]
    return tuple(dict.fromkeys(texts)) if len(texts) == len(found) else None


def write_answers(answers: Answers, path: Path) -> None:
    """Write the file that `read_answers` reads, sorted by query."""
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for query, texts in sorted(answers.items()):
            stream.write(json.dumps({_QUERY: query, _TEXTS: list(texts)}, ensure_ascii=False) + "\n")


def joined(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    """Return the answers of two rows of one query, each text once."""
    return tuple(dict.fromkeys([*first, *second]))


def _query(path: Path, number: int, row: Mapping[str, Any]) -> str:
    query = row.get(_QUERY)
    if isinstance(query, int) and not isinstance(query, bool):
        query = str(query)
    if not isinstance(query, str) or not query:
        hint = "; write it as 'query-id', not '_id'" if "_id" in row else f". Fields: {_fields(row)}"
        raise DataError(f"{path}:{number}: no {_QUERY!r}{hint}")
    return without_surrogates(query)


def _fields(row: Mapping[str, Any]) -> str:
    return ", ".join(sorted(row)) or "none"
