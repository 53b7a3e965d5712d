"""Reads tables: CSV and TSV as spreadsheets export them, JSON Lines, and Parquet."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data.lines import read_objects
from bench.errors import DataError, did_you_mean

SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".jsonl", ".ndjson", ".parquet")
_DELIMITERS = ",;\t|"
_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_FAULTS = {"#N/A", "#VALUE!", "#REF!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!"}
"""Cells of failed formulas in a spreadsheet. They count as empty."""


@dataclass(frozen=True)
class Row:
    """One row of a table. A cell holds text, a number, a list of texts, or None."""

    where: str
    """`file:line`, or `file, row n` for a file without lines."""
    number: int
    cells: Mapping[str, Any]

    def texts(self, column: str | None) -> list[str]:
        """Return the texts of a cell: none for an empty cell or a failed formula, several for a list."""
        value = self.cells.get(column) if column is not None else None
        values = value if isinstance(value, list | tuple) else [value]
        texts = [_clean(item) for item in values if item is not None]
        return [text for text in texts if text and text not in _FAULTS]

    def text(self, column: str | None) -> str:
        """Return the text of a cell, the first one of a list. An empty cell gives an empty text."""
        return next(iter(self.texts(column)), "")


@dataclass(frozen=True)
class Table:
    """A table: its columns, and a function that reads all its rows."""

    path: Path
    columns: tuple[str, ...]
    rows: Callable[[], Iterator[Row]]

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
            named: the column that a user named.
            names: usual names of such a column.
            what: content of the column, for messages.
            needed: whether the table must have one.
            taken: columns that a user named for another kind. They are not taken by their usual name.

        Raises:
            DataError: the named column is missing, or no column has a usual name and one is needed.
        """
        if named is not None:
            if named in self.columns:
                return named
            raise DataError(
                f"{self.path}: no column {named!r}{did_you_mean(named, self.columns) or '.'} "
                f"Columns: {', '.join(self.columns)}."
            )
        plain = {
            column.strip().casefold().replace(" ", "_").replace("-", "_"): column
            for column in self.columns
            if column not in taken
        }
        column = next((plain[name] for name in names if name in plain), None)
        if column is None and needed:
            raise DataError(
                f"{self.path}: no column for the {what}: none is called {', '.join(names[:4])}; name it. "
                f"Columns: {', '.join(self.columns)}."
            )
        return column


def read_table(path: Path, encoding: str | None = None) -> Table:
    """Open a table.

    A CSV or TSV file is UTF-8, or UTF-16 with a byte-order mark. Its delimiter is the most frequent one in its header,
    unless its first line is `sep=;`. Quoted cells may hold line ends. Blank rows are skipped.

    Args:
        path: a .csv, .tsv, .jsonl (or .ndjson) or .parquet file.
        encoding: encoding of a CSV or TSV file. None means UTF-8 or the encoding of its byte-order mark.

    Raises:
        DataError: the file is missing, empty, of another kind or wrongly encoded, or a row has too many cells. The
            message names file and line.
    """
    suffix = path.suffix.casefold()
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines(path)
    if suffix == ".parquet":
        return _parquet(path)
    if suffix in SUFFIXES:
        return _delimited(path, encoding)
    hint = "; save the sheet as CSV" if suffix in (".xlsx", ".xls", ".ods") else ""
    raise DataError(f"{path}: not a table of a known kind ({', '.join(SUFFIXES)}){hint}")


def _clean(value: Any) -> str:
    if isinstance(value, float) and value != value:
        return ""
    text = str(value).replace("\r\n", "\n").replace("_x000D_", "").replace("\u00a0", " ").replace("\x00", "")
    return text.strip()


def _delimited(path: Path, encoding: str | None) -> Table:
    text = _decoded(path, encoding)
    skipped = 0
    first, _, rest = text.partition("\n")
    delimiter = "\t" if path.suffix.casefold() in (".tsv", ".tab") else ""
    if first.strip().casefold().startswith("sep=") and len(first.strip()) == 5:
        delimiter, text, skipped = first.strip()[4], rest, 1
        first = text.partition("\n")[0]
    delimiter = delimiter or max(_DELIMITERS, key=_outside_quotes(first).count)
    quotes = _has_quotes(path, text, delimiter)
    records = _records(path, text, delimiter, skipped, quotes)
    header = [cell.strip() for cell in next(records, (0, []))[1]]
    while header and not header[-1]:
        header.pop()
    _check_header(path, header)

    def rows() -> Iterator[Row]:
        data = _records(path, text, delimiter, skipped, quotes)
        next(data)
        for number, (line, cells) in enumerate(data, start=1):
            if any(cell.strip() for cell in cells[len(header) :]):
                raise DataError(
                    f"{path}:{line}: {len(cells)} cells, but {len(header)} columns; put a cell that holds "
                    f"{delimiter!r} into quotes"
                )
            padded = cells + [""] * (len(header) - len(cells))
            yield Row(f"{path}:{line}", number, dict(zip(header, padded, strict=False)))

    return Table(path, tuple(header), rows)


def _decoded(path: Path, encoding: str | None) -> str:
    raw = path.read_bytes()
    chosen = encoding or next((name for bom, name in _BOMS.items() if raw.startswith(bom)), "utf-8")
    try:
        return raw.decode(chosen)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: not {chosen}; save the file as UTF-8, or name its encoding (--encoding cp1252 is common)"
        ) from error
    except LookupError as error:
        raise DataError(f"{path}: unknown encoding {chosen!r}") from error


def _outside_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])


def _has_quotes(path: Path, text: str, delimiter: str) -> bool:
    """Whether quotes enclose cells. In files with tabs they are often ordinary characters."""
    if delimiter == "\t":
        try:
            for _ in _records(path, text, delimiter, 0, quotes=True):
                pass
        except DataError:
            return False
    return True


def _records(path: Path, text: str, delimiter: str, skipped: int, quotes: bool) -> Iterator[tuple[int, list[str]]]:
    """Yield (first line, cells) for every row that is not blank."""
    csv.field_size_limit(1 << 30)
    lines = io.StringIO(text, newline="")
    if quotes:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
    else:
        reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    start = 1 + skipped
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield start, cells
            start = reader.line_num + 1 + skipped
    except csv.Error as error:
        raise DataError(f"{path}:{start}: not a row of a table: {error} (a quote that is not closed?)") from error


def _check_header(path: Path, header: Sequence[str]) -> None:
    if not header:
        raise DataError(f"{path}: the table is empty")
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated:
        raise DataError(f"{path}:1: columns of the same name: {', '.join(repeated)}")


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
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a Parquet file: {error}") from error

    def rows() -> Iterator[Row]:
        number = 0
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield Row(f"{path}, row {number}", number, row)

    return Table(path, tuple(file.schema_arrow.names), rows)
