"""Reads lines and JSON objects from text files, gzipped or not, with a byte-order mark or with CRLF."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.data.bounded import RatioError, open_gzip
from bench.errors import DataError


def find_file(folder: Path, name: str) -> Path | None:
    """Return `folder/name` or `folder/name.gz`, whichever exists, or None."""
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    return None


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line) for every line that is not blank, without line end and byte-order mark.

    Raises:
        DataError: the file is not UTF-8, or is a damaged gzip file. The message names the line.
    """
    number = 0
    try:
        with open_gzip(path) if path.suffix == ".gz" else path.open("rb") as stream:
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
    """Yield (line number, object) for every line of a JSON Lines file.

    Raises:
        DataError: a line is not a JSON object. The message names the line.
    """
    for number, line in read_lines(path):
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}:{number}: not JSON: {error.msg} at column {error.colno}: {_excerpt(line, error.pos)}"
            ) from error
        except RecursionError as error:
            raise DataError(f"{path}:{number}: the JSON is nested too deeply") from error
        except ValueError as error:  # an integer of more digits than Python reads
            raise DataError(f"{path}:{number}: not read: {str(error).partition(';')[0]}") from error
        if not isinstance(value, dict):
            raise DataError(f"{path}:{number}: expected a JSON object, found {type(value).__name__}: {_excerpt(line)}")
        yield number, value


def _excerpt(line: str, position: int = 0) -> str:
    start = max(0, position - 20)
    return repr(line[start : start + 60])
