"""Reads tables: CSV and TSV as spreadsheets export them, JSON and JSON Lines, Parquet, and folders of shards."""

from __future__ import annotations

import ast
import codecs
import csv
import io
import json
import re
import tokenize
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from bench.data.json_tables import read_json
from bench.data.lines import open_binary, read_content, read_objects, readable, suffix_of
from bench.data.text import is_blank, without_surrogates
from bench.errors import DataError, did_you_mean

SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".jsonl", ".ndjson", ".json", ".parquet")
SHARDS = (".parquet", ".jsonl", ".ndjson", ".csv", ".tsv")
"""Kinds of tables that a folder may hold in several files."""
_SPLIT_OF_NAME = re.compile(r"(train|test|dev|validation|valid|val)(?:[-_.].*)?", re.IGNORECASE)
_SPLIT = "split"
NO_COLUMN = "none"
"""What a user names in place of a column to say that the table has none of a kind."""
_DELIMITERS = ",;\t|"
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
"""Byte-order marks and their encodings. That of UTF-32 begins as that of UTF-16 does, so it comes first."""
_RULE = re.compile(r"\s*:?-+:?\s*")
"""A cell of the line under the header of a Markdown table."""
_FAULTS = {"#N/A", "#VALUE!", "#REF!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!"}
"""Cells of failed formulas in a spreadsheet. They count as empty."""
_NULL_WORDS = {"none", "null", "nan", "n/a", "<na>", "\\n", "nil", "undefined", "#na", "(null)", "[null]", "-nan"}
"""Cells by which a programme says that there is no value, in any case. They count as empty."""
_NULL_EXACTLY = {"NA", "NaT"}
_TEXT_KEYS = (
    "text", "passage", "passage_text", "content", "contents", "page_content", "body", "context", "document",
    "paragraph",
)  # fmt: skip
_TITLE_KEYS = ("title", "heading", "name")
_ARRAY = re.compile(r"^array\((\[.*\])(?:,\s*dtype=[\w<>']+)?\)$", re.DOTALL)
"""A list as NumPy prints it inside of another object."""
_LABEL_KEYS = ("is_selected", "is_relevant", "relevant", "is_positive", "is_gold", "label")
"""Keys by which an object says whether its passage answers the question: 0, 1, true or false."""
_OBJECT_KEYS = {*_TEXT_KEYS, *_TITLE_KEYS, *_LABEL_KEYS, "id", "_id", "docid", "doc_id", "pid", "passage_id", "url",
                "score", "answer_start", "metadata", "source"}  # fmt: skip
"""Keys of the objects that are read where they are written as text. Other objects are passages of code."""


class Passage(NamedTuple):
    """A passage of a cell."""

    title: str
    text: str
    label: Any = None
    """What its object says about its relevance, where it does."""


@dataclass(frozen=True)
class Row:
    """One row of a table. A cell holds text, a number, a list of texts, or None."""

    where: str
    """`file:line`, or `file, row n` for a file without lines."""
    number: int
    cells: Mapping[str, Any]

    def texts(self, column: str | None) -> list[str]:
        """Return the texts of a cell: none for an empty cell or a failed formula, several for a list."""
        return [passage.text for passage in self.passages(column)]

    def passages(self, column: str | None) -> list[Passage]:
        """Return the passages of a cell. A list may hold objects, such as `{"title": , "text": }`."""
        return list(_passages(self.items(column)))

    def items(self, column: str | None) -> list[Any]:
        """Return the items of a cell: of a list, or of a list that is written as text."""
        return _listed(self.cells.get(column) if column is not None else None)

    def unused_keys(self, column: str) -> set[str]:
        """Return the keys of a cell's objects that `passages` does not read."""
        return {key for item in self.items(column) if isinstance(item, Mapping) for key in set(item) - _used_keys(item)}

    def text(self, column: str | None) -> str:
        """Return the text of a cell, the first one of a list. An empty cell gives an empty text."""
        return next(iter(self.texts(column)), "")


@dataclass(frozen=True)
class Table:
    """A table: its columns, and a function that reads all its rows."""

    path: Path
    columns: tuple[str, ...]
    rows: Callable[[], Iterator[Row]]
    documents: Mapping[str, str] = field(default_factory=dict)
    """Id -> passage, where the file keeps its passages apart from its rows."""
    notes: tuple[str, ...] = ()
    """What reading the file did about its quirks."""

    def column(
        self,
        named: str | None,
        names: Sequence[str],
        what: str,
        needed: bool = True,
        taken: Collection[str] = (),
    ) -> str | None:
        """Return the column that a user named, or else the first whose name, in any case, is one of `names`.

        Args:
            named: the column that a user named, or `none` where the table has no such column.
            names: usual names of such a column.
            what: content of the column, for messages.
            needed: whether the table must have one.
            taken: columns that a user named for another kind. They are not taken by their usual name.

        Raises:
            DataError: the named column is missing, or no column has a usual name and one is needed.
        """
        if named == NO_COLUMN and not needed and named not in self.columns:
            return None
        if named is not None:
            if named in self.columns:
                return named
            raise DataError(
                f"{self.path}: no column {named!r}{did_you_mean(named, self.columns) or '.'} "
                f"Columns: {', '.join(self.columns)}."
            )
        plain: dict[str, list[str]] = {}
        for each in self.columns:
            if each not in taken:
                plain.setdefault(plain_name(each), []).append(each)
        found = next((plain[name] for name in names if name in plain), [])
        if len(found) > 1:
            raise DataError(
                f"{self.path}: the columns {' and '.join(map(repr, found))} may both hold the {what}; name one of them"
            )
        column = found[0] if found else None
        if column is None and needed:
            raise DataError(
                f"{self.path}: no column for the {what}: none is called {', '.join(names[:4])}; name it. "
                f"Columns: {', '.join(self.columns)}."
            )
        return column


def plain_name(column: str) -> str:
    """Return a column's name in lower case, with underscores for spaces and hyphens."""
    return column.strip().casefold().replace(" ", "_").replace("-", "_")


def is_null(text: str) -> bool:
    """Whether a cell's text stands for no value: it is empty, the word for it in some language, or a failed formula."""
    return is_blank(text) or text in _FAULTS or text in _NULL_EXACTLY or text.casefold() in _NULL_WORDS


def read_table(path: Path, encoding: str | None = None) -> Table:
    """Open a table.

    A CSV or TSV file is UTF-8, or UTF-16 with a byte-order mark. Its delimiter is the most frequent one in its header,
    unless its first line is `sep=;`. Quoted cells may hold line ends, and quotes that are doubled or follow a
    backslash. Blank rows are skipped.

    Args:
        path: a .csv, .tsv, .jsonl (or .ndjson), .json or .parquet file.
        encoding: encoding of a CSV or TSV file. None means UTF-8 or the encoding of its byte-order mark.

    Raises:
        DataError: the file is missing, empty, of another kind or wrongly encoded, or a row has too many cells. The
            message names file and line.
    """
    suffix = suffix_of(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if suffix in (".jsonl", ".ndjson", ".json"):
        return _json(path) if _is_one_document(path, suffix) else _json_lines(path)
    if suffix == ".parquet":
        return _parquet(path)
    if suffix in SUFFIXES:
        return _delimited(path, encoding)
    hint = "; save the sheet as CSV" if suffix in (".xlsx", ".xls", ".ods") else ""
    raise DataError(f"{path}: not a table of a known kind ({', '.join(SUFFIXES)}){hint}")


def shards_of(folder: Path) -> list[Path]:
    """Return the tables of one kind in a folder and below it, in order. Hidden files are left out."""
    visible = [
        path
        for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).parts)
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    kinds = ([path for path in visible if suffix_of(path) == suffix] for suffix in SHARDS)
    return next((paths for paths in kinds if paths), [])


def read_shards(folder: Path, encoding: str | None = None) -> Table:
    """Open the tables of a folder as one. Files named after a split, such as `train-00000.parquet`, are that split.

    Raises:
        DataError: the folder holds no table, or two files have different columns. Otherwise as `read_table`.
    """
    paths = shards_of(folder)
    if not paths:
        raise DataError(f"{folder}: no table ({', '.join(SHARDS)}) in this folder")
    tables = [read_table(path, encoding) for path in paths]
    columns = tables[0].columns
    for path, table in zip(paths, tables, strict=True):
        if set(table.columns) != set(columns):
            raise DataError(
                f"{path}: its columns ({', '.join(table.columns)}) are not those of {paths[0].name} "
                f"({', '.join(columns)}); import the files one by one"
            )
    matches = [_SPLIT_OF_NAME.fullmatch(path.stem) or _SPLIT_OF_NAME.fullmatch(path.parent.name) for path in paths]
    splits = [match[1] if match else None for match in matches]
    named = all(splits) and len(set(splits)) > 1 and not any(plain_name(column) == _SPLIT for column in columns)

    def rows() -> Iterator[Row]:
        number = 0
        for table, split in zip(tables, splits, strict=True):
            for row in table.rows():
                number += 1
                yield Row(row.where, number, {**row.cells, _SPLIT: split} if named else row.cells)

    notes = [note for table in tables for note in table.notes]
    notes.append(f"{folder.name}: {len(paths)} files, {paths[0].name} to {paths[-1].name}, are read as one table")
    return Table(folder, (*columns, _SPLIT) if named else columns, rows, {}, tuple(notes))


def _listed(value: Any) -> list[Any]:
    """Return the items of a cell: of a list, or of a list or an object that is written as text, as in a CSV file."""
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{", "a"):
        return _written(value) or [value]
    return [value]


@lru_cache(maxsize=8)
def _written(value: str) -> list[Any] | None:
    """Return the items of a list or an object that is written as text; None for another text."""
    text = _ARRAY.sub(r"\1", value.strip())
    if text[:1] == "[" and text[-1:] == "]":
        for read in (json.loads, _python_list):
            items = _parsed(read, text)
            if isinstance(items, list) and items and all(isinstance(item, str | dict) for item in items):
                return items
    elif text[:1] == "{" and text[-1:] == "}":
        for parse in (json.loads, ast.literal_eval):
            item = _parsed(parse, text)
            if isinstance(item, dict) and set(item) <= _OBJECT_KEYS and _text_key(item):
                return [item]
    return None


def _parsed(read: Callable[[str], Any], text: str) -> Any:
    """Return what a function reads from a cell; None where it cannot. Its compiler's warnings say nothing here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError):
        return None


def _python_list(text: str) -> Any:
    """Return a list as Python or NumPy prints it. NumPy puts no comma between items."""
    items = ast.literal_eval(re.sub(r"\}\s+\{", "}, {", text))
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        return items
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    strings = [token.string for token in tokens if token.type == tokenize.STRING]
    return items if len(strings) == len(items) else [ast.literal_eval(string) for string in strings]


def _text_key(item: Mapping[str, Any]) -> str | None:
    return next((key for key in _TEXT_KEYS if item.get(key)), None)


def _used_keys(item: Mapping[str, Any]) -> set[str | None]:
    title = next((key for key in _TITLE_KEYS if key in item), None)
    return {_text_key(item), title, next((key for key in _LABEL_KEYS if key in item), None)}


def _passages(items: Sequence[Any]) -> Iterator[Passage]:
    """Yield the passages of texts and of objects that hold one, or hold lists of texts, titles and labels."""
    for item in items:
        if isinstance(item, Mapping):
            key = _text_key(item)
            texts = _listed(item[key]) if key else []
            titles = _for_each(next((item[each] for each in _TITLE_KEYS if item.get(each)), None), len(texts))
            labels = _for_each(next((item[each] for each in _LABEL_KEYS if each in item), None), len(texts))
            for text, title, label in zip(texts, titles, labels, strict=True):
                if isinstance(text, str) and not is_null(_clean(text)):
                    named = _clean(title) if isinstance(title, str) else ""
                    label = label if isinstance(label, int | float) else None
                    yield Passage("" if is_null(named) else named, _clean(text), label)
        elif item is not None and not isinstance(item, list | tuple):
            text = _clean(item)
            if not is_null(text):
                yield Passage("", text)


def _for_each(value: Any, count: int) -> list[Any]:
    """Return a value for each of several passages: a list's items, or one value for all."""
    return list(value) if isinstance(value, list | tuple) and len(value) == count else [value] * count


def _clean(value: Any) -> str:
    if isinstance(value, float) and value != value:
        return ""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace") if b"\0" not in value else ""
    try:
        text = without_surrogates(str(value))
    except ValueError as error:  # an integer of more digits than Python writes
        raise DataError(f"a cell cannot be read as text: {error}") from error
    text = text.replace("\r\n", "\n").replace("_x000D_", "").replace("\u00a0", " ").replace("\x00", "")
    return text.strip()


def _delimited(path: Path, encoding: str | None) -> Table:
    text = _decoded(path, encoding)
    skipped = 0
    first, _, rest = text.partition("\n")
    if "\0" in first and not encoding:
        raise DataError(f"{path}:1: null characters: name the file's encoding (--encoding utf-16-le is common)")
    delimiter = "\t" if suffix_of(path) in (".tsv", ".tab") and "\t" in first else ""
    if first.strip().casefold().startswith("sep=") and len(first.strip()) == 5:
        delimiter, text, skipped = first.strip()[4], rest, 1
        first = text.partition("\n")[0]
    delimiter = delimiter or max(_DELIMITERS, key=_outside_quotes(first).count)
    style = _style(path, text, delimiter)
    records = _records(path, text, delimiter, skipped, style)
    header = [without_surrogates(cell.strip()) for cell in next(records, (0, []))[1]]
    while header and not header[-1]:
        header.pop()
    _check_header(path, header)
    header = [name or f"(column {number})" for number, name in enumerate(header, start=1)]

    def rows() -> Iterator[Row]:
        data = _records(path, text, delimiter, skipped, style)
        next(data)
        for number, (line, cells) in enumerate(data, start=1):
            if _is_ragged(cells, len(header)):
                raise DataError(
                    f"{path}:{line}: {len(cells)} cells, but {len(header)} columns; put a cell that holds "
                    f"{delimiter!r} into quotes"
                )
            if delimiter == "|" and all(not cell.strip() or _RULE.fullmatch(cell) for cell in cells):
                continue
            padded = cells + [""] * (len(header) - len(cells))
            yield Row(f"{path}:{line}", number, dict(zip(header, padded, strict=False)))

    notes = (f"{path.name}: quotes inside of cells follow a backslash",) if style == "backslash" else ()
    return Table(path, tuple(header), rows, {}, notes)


def _decoded(path: Path, encoding: str | None) -> str:
    raw = read_content(path)
    chosen = encoding or next((name for bom, name in _BOMS.items() if raw.startswith(bom)), "utf-8")
    try:
        return raw.decode(chosen)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: not {chosen}; save the file as UTF-8, or name its encoding (--encoding cp1252 is common)"
        ) from error
    except (LookupError, ValueError) as error:
        raise DataError(f"{path}: unknown encoding {chosen!r}") from error


def _outside_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])


def _style(path: Path, text: str, delimiter: str) -> str:
    """Return how a table quotes its cells: the first style by which all rows can be read and fit the header."""
    styles = ["doubled", *(["backslash"] if '\\"' in text else []), *(["none"] if delimiter == "\t" else [])]
    for style in styles if len(styles) > 1 else ():
        try:
            records = _records(path, text, delimiter, 0, style)
            header = next(records, (0, []))[1]
            if not any(_is_ragged(cells, len(header)) for _, cells in records):
                return style
        except DataError:
            continue
    return styles[0]


def _is_ragged(cells: Sequence[str], width: int) -> bool:
    return any(cell.strip() for cell in cells[width:])


def _records(path: Path, text: str, delimiter: str, skipped: int, style: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (first line, cells) for every row that is not blank."""
    csv.field_size_limit(1 << 30)
    lines = io.StringIO(text, newline="")
    options: dict[str, Any] = {"strict": True}
    if style == "backslash":
        options |= {"escapechar": "\\"}
    elif style == "none":  # in files with tabs, quotes are often ordinary characters
        options = {"quoting": csv.QUOTE_NONE}
    start = 1 + skipped
    try:
        reader = csv.reader(lines, delimiter=delimiter, **options)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield start, cells
            start = reader.line_num + 1 + skipped
    except (csv.Error, TypeError, ValueError) as error:  # the two latter: a delimiter that is none, after `sep=`
        raise DataError(f"{path}:{start}: not a row of a table: {error} (a quote that is not closed?)") from error


def _check_header(path: Path, header: Sequence[str]) -> None:
    if not header:
        raise DataError(f"{path}: the table is empty")
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated:
        raise DataError(f"{path}:1: columns of the same name: {', '.join(repeated)}")


def _is_one_document(path: Path, suffix: str) -> bool:
    """Whether a file holds one JSON document, and not one a line."""
    with readable(path), open_binary(path) as stream:
        start = stream.read(4096).removeprefix(codecs.BOM_UTF8).lstrip()
    if suffix != ".json":
        return start.startswith(b"[") or start.partition(b"\n")[0].strip() == b"{"
    try:
        first = start.partition(b"\n")[0]
        return not (isinstance(json.loads(first), dict) and start.partition(b"\n")[2].lstrip().startswith(b"{"))
    except (ValueError, RecursionError):
        return True


def _json(path: Path) -> Table:
    content, documents, notes = read_json(path)
    columns: dict[str, None] = {}
    for row in content:
        columns.update(dict.fromkeys(row))
    if not columns:
        raise DataError(f"{path}: the table is empty")

    def rows() -> Iterator[Row]:
        for number, row in enumerate(content, start=1):
            yield Row(f"{path}, row {number}", number, row)

    return Table(path, tuple(columns), rows, documents, tuple(notes))


def _json_lines(path: Path) -> Table:
    columns: dict[str, None] = {}
    for _, row in read_objects(path):
        columns.update(dict.fromkeys(row))
    if not columns:
        raise DataError(f"{path}: the table is empty")

    def rows() -> Iterator[Row]:
        for number, (line, row) in enumerate(read_objects(path), start=1):
            yield Row(f"{path}:{line}", number, row)

    return Table(path, tuple(columns), rows)


def _parquet(path: Path) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        columns = tuple(file.schema_arrow.names)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: not a Parquet file: {_one_line(error)}") from error
    _check_header(path, columns)

    def rows() -> Iterator[Row]:
        number = 0
        try:
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield Row(f"{path}, row {number}", number, row)
        except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
            raise DataError(f"{path}: damaged after row {number}: {_one_line(error)}") from error

    return Table(path, columns, rows)


def _one_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0]
