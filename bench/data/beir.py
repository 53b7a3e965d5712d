"""Reads BEIR folders: `corpus.jsonl`, `queries.jsonl`, `qrels/<split>.tsv` (Thakur et al., 2021, section 3).

The text of a document is its title, a space and its body, as for the published scores. A file `answers.jsonl` may
hold the answers of queries, which BEIR does not have (`bench.data.answers`).
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.data.answers import ANSWERS, read_answers
from bench.data.dataset import Corpus, Dataset, DatasetInfo, Qrels
from bench.data.files import cache_folder
from bench.data.lines import find_file, read_lines, read_objects
from bench.data.stored import Joined, StoredTexts, is_large
from bench.data.text import is_blank, without_surrogates
from bench.errors import DataError, did_you_mean

HEADER = ("query-id", "corpus-id", "score")
MAX_GRADE = 2**31
"""Scorers keep grades in 32 bits."""
_TRAINED_ON = ("train", "dev")
"""Splits that drop judgements without a document. Other splits keep them, because no ranking can reach them."""
_OTHERWISE = ", which writes it "
_MOST_SPELLINGS = 1_000_000
"""Ids among which another spelling of an unknown one is looked for."""
_SHOWN = 3
"""Number of lines that an error or a warning names. It counts the rest."""


def is_beir(folder: Path) -> bool:
    """Whether a folder has the form of a BEIR dataset, which means that it has a corpus."""
    return find_file(folder, "corpus.jsonl") is not None


def split_names(folder: Path) -> list[str]:
    """Return the sorted names of the splits that have qrels in a folder. Hidden files are left out."""
    qrels = folder / "qrels"
    if not qrels.is_dir():
        return []
    names = {path.name.removesuffix(".gz") for path in qrels.iterdir() if path.is_file() and path.name[0] != "."}
    return sorted(name.removesuffix(".tsv") for name in names if name.endswith(".tsv"))


def read_beir(folder: Path, info: DatasetInfo, splits: Sequence[str] | None = None) -> Dataset:
    """Read and validate a BEIR folder. A file may be gzipped, start with a byte-order mark, and have CRLF.

    The dataset keeps empty texts, and judgements of a test split that name documents outside the corpus. It leaves out
    the latter in `train` and `dev`, judgements of unknown queries, and splits without judgements. `Dataset.warnings`
    names and counts all of them.

    Args:
        folder: holds `corpus.jsonl`, `queries.jsonl`, `qrels/`, and `answers.jsonl` where there are answers.
        info: the dataset's description.
        splits: the splits to read. None reads all.

    Raises:
        DataError: malformed JSON, a missing or duplicate id, qrels that mostly name unknown queries or documents, no
            documents, no judgements, a missing split, a wrong header, a grade that is not whole, or malformed answers.
            The message names file and line.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    corpus_file, query_file = _required(folder, "corpus.jsonl"), _required(folder, "queries.jsonl")
    names = _split_names(folder, splits)
    warnings: list[str] = []
    corpus = _read_corpus(corpus_file, warnings)
    queries, groups = _read_queries(query_file, warnings)
    reader = _QrelsReader(queries, corpus.positions, warnings)
    qrels = {split: reader.read(_required(folder, f"qrels/{split}.tsv"), split) for split in names}
    for split, judged in list(qrels.items()):
        relevant = any(grade > 0 for docs in judged.values() for grade in docs.values())
        if judged and not relevant and split not in _TRAINED_ON:
            raise DataError(
                f"{folder / 'qrels' / f'{split}.tsv'}: no grade is above 0, so no document is relevant and every score "
                "would be 0"
            )
        if not relevant:
            what = "relevant document" if judged else "judgements"
            warnings.append(f"qrels/{split}.tsv: the split has no {what} and is ignored")
            del qrels[split]
    if not qrels:
        raise DataError(f"{folder / 'qrels' / f'{names[0]}.tsv'}: the split has no judgements")
    warnings += [
        f"{name}.gz is ignored: {name} stands beside it"
        for name in ("corpus.jsonl", "queries.jsonl", *(f"qrels/{split}.tsv" for split in names))
        if (folder / name).is_file() and (folder / f"{name}.gz").is_file()
    ]
    answers_file = find_file(folder, ANSWERS)
    answers = read_answers(answers_file, queries, warnings) if answers_file is not None else {}
    return Dataset(info, corpus, queries, qrels, tuple(warnings), groups, answers)


def read_corpus(folder: Path) -> Corpus:
    """Read the corpus of a folder, which may have no queries.

    Raises:
        DataError: as `read_beir`.
    """
    return _read_corpus(_required(folder, "corpus.jsonl"), [])


def _required(folder: Path, name: str) -> Path:
    path = find_file(folder, name)
    if path is None:
        nested = sorted(child.name for child in folder.iterdir() if child.is_dir() and find_file(child, name))
        hint = f"; {folder / nested[0]} has one" if nested else ""
        raise DataError(f"{folder}: no {name} (or {name}.gz) in this folder{hint}")
    return path


def _split_names(folder: Path, splits: Sequence[str] | None) -> list[str]:
    present = split_names(folder)
    for split in splits or ():
        if split not in present:
            raise DataError(
                f"{folder / 'qrels' / f'{split}.tsv'}: no split {split!r}{did_you_mean(split, present) or '.'} "
                f"Present: {', '.join(present) or 'none'}."
            )
    if not present:
        raise DataError(f"{folder / 'qrels'}: no qrels; expected a file <split>.tsv for each split, such as test.tsv")
    return list(splits) if splits is not None else present


def _read_corpus(path: Path, warnings: list[str]) -> Corpus:
    ids = _Ids(path)
    large = is_large(path)
    titles: list[str] | StoredTexts = StoredTexts(cache_folder()) if large else []
    bodies: list[str] | StoredTexts = StoredTexts(cache_folder()) if large else []
    texts: list[str] = []
    empty: list[int] = []
    damaged: list[int] = []
    for number, row in read_objects(path):
        ids.add(number, row)
        title, body = (
            _text(path, number, row, "title", damaged, needed=False),
            _text(path, number, row, "text", damaged),
        )
        text = f"{title} {body}".strip() if title else body.strip()  # without a title this makes no second copy
        if not text:
            empty.append(number)
        titles.append(title)
        bodies.append(body)
        if not large:
            texts.append(text)
    if not bodies:
        raise DataError(f"{path}: the corpus is empty")
    if empty:
        warnings.append(f"{path.name}: {len(empty)} empty documents are kept ({_at_lines(empty)})")
    _note_damaged(path, damaged, warnings)
    parts = (titles, bodies) if any(titles) else (None, None)
    return Corpus(list(ids.lines), Joined(titles, bodies) if large else texts, *parts)


def _read_queries(path: Path, warnings: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    ids = _Ids(path)
    queries: dict[str, str] = {}
    groups: dict[str, str] = {}
    empty: list[int] = []
    damaged: list[int] = []
    for number, row in read_objects(path):
        query = ids.add(number, row)
        queries[query] = _text(path, number, row, "text", damaged).strip()
        if not queries[query]:
            empty.append(number)
        metadata = row.get("metadata")
        if isinstance(metadata, dict) and isinstance(metadata.get("group"), str):
            groups[query] = without_surrogates(metadata["group"])
    if not queries:
        raise DataError(f"{path}: the file has no queries")
    if empty:
        warnings.append(f"{path.name}: {len(empty)} empty queries are kept ({_at_lines(empty)})")
    _note_damaged(path, damaged, warnings)
    return queries, groups


def _note_damaged(path: Path, damaged: Sequence[int], warnings: list[str]) -> None:
    if damaged:
        warnings.append(
            f"{path.name}: {len(damaged)} texts hold half of a pair of UTF-16, which is no character; U+FFFD stands "
            f"for it ({_at_lines(damaged)})"
        )


def _text(path: Path, number: int, row: Mapping[str, Any], key: str, damaged: list[int], needed: bool = True) -> str:
    """Return a text field, and note its line where it has unpaired surrogates. A null or a blank counts as empty."""
    if key not in row and needed:
        hint = did_you_mean(key, row) or "."
        raise DataError(f"{path}:{number}: no {key!r}{hint} Fields: {', '.join(sorted(row)) or 'none'}.")
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{path}:{number}: {key!r} is {type(value).__name__}, not a string")
    text = without_surrogates(value)
    if text != value:
        damaged.append(number)
    return "" if is_blank(text) else text


def _at_lines(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:_SHOWN])
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return f"{'line' if len(numbers) == 1 else 'lines'} {shown}{more}"


@dataclass
class _Ids:
    """The ids of one file in order, each with its line."""

    path: Path
    lines: dict[str, int] = field(default_factory=dict)

    def add(self, number: int, row: Mapping[str, Any]) -> str:
        """Add and return a row's `_id`. A whole number becomes text, as it is in qrels."""
        value = row.get("_id")
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if value is None or value == "":
            hint = "; write it as '_id', not 'id'" if "id" in row else ""
            raise DataError(f"{self.path}:{number}: no '_id'{hint}")
        if not isinstance(value, str):
            raise DataError(f"{self.path}:{number}: '_id' is {type(value).__name__}, not a string")
        value = without_surrogates(value)
        if any(sign in value for sign in "\t\n\r\0"):
            raise DataError(f"{self.path}:{number}: '_id' {value!r} has a tab or a line end, which qrels cannot hold")
        if value in self.lines:
            raise DataError(f"{self.path}:{number}: duplicate '_id' {value!r}, first on line {self.lines[value]}")
        self.lines[value] = number
        return value


@dataclass
class _QrelsReader:
    """Reads qrels files and checks them against the queries and documents."""

    queries: Mapping[str, str]
    docs: Mapping[str, int]
    warnings: list[str]
    _spellings: dict[int, dict[str, str]] = field(default_factory=dict)
    """Identity of a table of ids -> plain form of an id -> the id."""

    def read(self, path: Path, split: str) -> Qrels:
        """Return the qrels of one split."""
        qrels: dict[str, dict[str, int]] = {}
        unknown: list[str] = []
        missing: Counter[str] = Counter()
        repeated: list[int] = []
        rows = read_lines(path)
        number, line = next(rows, (0, ""))
        if number:
            _check_header(path, number, line)
        count = 0
        for number, line in rows:
            count += 1
            query, doc, grade = _qrels_row(path, number, line)
            if query not in self.queries:
                hint = self._spelling(query, self.queries) or ("; it is a document" if query in self.docs else "")
                unknown.append(f"{path}:{number}: query {query!r} is not in queries.jsonl{hint}")
                missing["query"] += 1
                continue
            if doc not in self.docs:
                hint = self._spelling(doc, self.docs)
                unknown.append(f"{path}:{number}: document {doc!r} is not in corpus.jsonl{hint}")
                missing["document"] += 1
                if split in _TRAINED_ON:
                    continue
            if (before := qrels.get(query, {}).get(doc)) is None:
                qrels.setdefault(query, {})[doc] = grade
            elif before == grade:
                repeated.append(number)
            else:
                raise DataError(f"{path}:{number}: grade {grade} for {query!r} {doc!r} contradicts an earlier {before}")
        if 2 * len(unknown) > count:
            more = f"\n(and {len(unknown) - _SHOWN} more such lines)" if len(unknown) > _SHOWN else ""
            raise DataError("\n".join(unknown[:_SHOWN]) + more)
        self._note_missing(path, split, missing, next((line for line in unknown if _OTHERWISE in line), ""))
        if repeated:
            where = _at_lines(repeated)
            self.warnings.append(f"qrels/{path.name}: {len(repeated)} repeated rows are counted once ({where})")
        unanswerable = sum(all(grade <= 0 for grade in docs.values()) for docs in qrels.values())
        if unanswerable:
            self.warnings.append(f"qrels/{path.name}: {unanswerable} queries have no relevant document and score 0")
        return qrels

    def _spelling(self, name: str, known: Mapping[str, object]) -> str:
        """Return how an unknown id is written in its file, where only its form differs; otherwise nothing."""
        if len(known) > _MOST_SPELLINGS:
            return ""
        if id(known) not in self._spellings:
            self._spellings[id(known)] = {_plain(each): each for each in known}
        plain = self._spellings[id(known)]
        return f"{_OTHERWISE}{plain[_plain(name)]!r}" if _plain(name) in plain else ""

    def _note_missing(self, path: Path, split: str, missing: Counter[str], spelled: str) -> None:
        if spelled:
            self.warnings.append(f"ids are written in two ways: {spelled}")
        if missing["query"]:
            self.warnings.append(
                f"qrels/{path.name}: {missing['query']} judgements name queries that queries.jsonl lacks: left out"
            )
        if missing["document"] and split in _TRAINED_ON:
            self.warnings.append(
                f"qrels/{path.name}: {missing['document']} judgements name documents that the corpus lacks: left out"
            )
        elif missing["document"]:
            self.warnings.append(
                f"qrels/{path.name}: {missing['document']} judgements name documents that the corpus lacks: they are "
                "kept, and no ranking can reach them"
            )


def _plain(name: str) -> str:
    """Return the form of an id without what programmes change: zeros in front, `.0` behind, case, spaces, accents."""
    return unicodedata.normalize("NFKC", name).strip().casefold().removesuffix(".0").lstrip("0")


def _check_header(path: Path, number: int, line: str) -> None:
    columns = tuple(column.strip() for column in line.split("\t"))
    if columns == HEADER:
        return
    trec = len(line.split()) == 4
    hint = "; this looks like TREC qrels: query, 0, document, grade" if trec else ""
    raise DataError(f"{path}:{number}: expected the header {'<tab>'.join(HEADER)}, found {line[:80]!r}{hint}")


def _qrels_row(path: Path, number: int, line: str) -> tuple[str, str, int]:
    columns = line.split("\t")
    if len(columns) != 3:
        raise DataError(f"{path}:{number}: expected 3 columns separated by tabs, found {len(columns)}: {line[:80]!r}")
    query, doc, grade = (column.strip() for column in columns)
    whole = whole_grade(grade)
    if whole is None:
        raise DataError(f"{path}:{number}: grade {grade[:40]!r} is not an integer")
    return query, doc, whole


def whole_grade(value: Any) -> int | None:
    """Return a grade that is whole (`1`, `1.0`, `True`) as an integer, or None for any other value."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if isinstance(value, str) and (not value.isascii() or "_" in value):
        return None
    return int(number) if math.isfinite(number) and number == int(number) and abs(number) < MAX_GRADE else None
