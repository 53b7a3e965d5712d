"""Reads lines and JSON objects from text files, gzipped or not, with a byte-order mark or with CRLF."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from bench.data.bounded import RatioError, open_gzip
from bench.errors import DataError

_GZIP = b"\x1f\x8b\x08"
"""The first bytes of a gzipped file."""


def find_file(folder: Path, name: str) -> Path | None:
    """Return `folder/name` or `folder/name.gz`, whichever exists, or None."""
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    return None


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading, unpacked where it is gzipped. Its first bytes tell, because names are often wrong."""
    with path.open("rb") as stream:
        gzipped = stream.read(len(_GZIP)) == _GZIP
    return cast("BinaryIO", open_gzip(path)) if gzipped or path.suffix == ".gz" else path.open("rb")


def read_content(path: Path) -> bytes:
    """Return the content of a file, unpacked where it is gzipped.

    Raises:
        DataError: the file cannot be read, or is a damaged gzip file.
    """
    with readable(path), open_binary(path) as stream:
        return stream.read()


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Name a file in the errors of a block that reads it.

    Raises:
        DataError: the file cannot be read, or is a damaged gzip file.
    """
    try:
        yield
    except RatioError as error:
        raise DataError(f"{path}: not read: {error}") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip file: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def suffix_of(path: Path) -> str:
    """Return the suffix of a file in lower case, such as `.jsonl`, without the `.gz` behind it."""
    return Path(path.name.casefold().removesuffix(".gz")).suffix


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line) for every line that is not blank, without line end and byte-order mark.

    Raises:
        DataError: the file is not UTF-8, or is a damaged gzip file. The message names the line.
    """
    number = 0
    try:
        with open_binary(path) as stream:
            for number, raw in enumerate(stream, start=1):
                if number == 1:
                    raw = raw.removeprefix(b"\xef\xbb\xbf")
                line = raw.decode("utf-8").rstrip("\r\n")
                if line and not line.isspace():
                    yield number, line
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{number}: not UTF-8 ({error.reason}); save the file as UTF-8") from error
    except RatioError as error:
        raise DataError(f"{path}:{number + 1}: not read: {error}") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}:{number + 1}: damaged gzip file: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) for every line of a JSON Lines file. A comma behind an object is left out.

    Raises:
        DataError: a line is not a JSON object. The message names the line.
    """
    for number, line in read_lines(path):
        try:
            value = _loads(line)
        except json.JSONDecodeError as error:
            hint = "; JSON Lines holds an object on each line" if line.strip() in ("{", "[") else ""
            raise DataError(
                f"{path}:{number}: not JSON: {error.msg} at column {error.colno}: {_excerpt(line, error.pos)}{hint}"
            ) from error
        except RecursionError as error:
            raise DataError(f"{path}:{number}: the JSON is nested too deeply") from error
        except ValueError as error:  # an integer of more digits than Python reads
            raise DataError(f"{path}:{number}: not read: {str(error).partition(';')[0]}") from error
        if not isinstance(value, dict):
            raise DataError(f"{path}:{number}: expected a JSON object, found {type(value).__name__}: {_excerpt(line)}")
        yield number, value


def _loads(line: str) -> Any:
    """Return the value of a line. A comma may follow it, as in a file that was cut out of an array."""
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        if line[error.pos :].strip() != ",":
            raise
        return json.loads(line[: error.pos])


def _excerpt(line: str, position: int = 0) -> str:
    start = max(0, position - 20)
    return repr(line[start : start + 60])
