"""Records on disk: written last and in one put, with size and SHA-256 of the files beside them; checked when read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from bench.data.files import named_in_errors
from bench.errors import StoreError
from bench.records import SCHEMA_VERSION, CellResult, FitRecord, StoredFile

MODEL = "model"
"""Folder of the artefact beside `fit.json`."""
FIT_MARK, CELL_MARK = "fit.json", "result.json"
"""The commit marks of fits and cells."""

RecordType = TypeVar("RecordType", FitRecord, CellResult)


class MissingError(StoreError):
    """There is no such record."""


class ArtefactError(StoreError):
    """A record can be read, but a file that it lists is missing or has changed."""


class DamagedError(StoreError):
    """A record is there but cannot be used. Making the fit or cell again repairs it."""


def read(mark: Path, kind: type[RecordType]) -> RecordType:
    """Return a record, after checking its own content and the size of every file that it lists.

    The content of those files is checked where it is used. The files of `model/` may be missing all together: records
    may be kept and committed without weights. Whoever needs the weights makes the fit again.

    Raises:
        StoreError: a newer version of AdaptBench wrote the record.
        DamagedError: the record or a file beside it is not what was written.
    """
    values = read_json(mark)
    version = values.get("schema_version")
    try:
        record = kind.from_dict(values)
    except StoreError as error:
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise StoreError(f"{mark}: {error}") from error
        raise DamagedError(f"{mark}: {error}: run again to repair it") from error
    without_weights = not (mark.parent / MODEL).is_dir()
    for name, listed in record.files.items():
        path = mark.parent / name
        if name.startswith(f"{MODEL}/") and without_weights:
            continue
        if not path.is_file() or path.stat().st_size != listed.bytes:
            raise DamagedError(f"{path} is missing or cut short: run again to repair it")
    return record


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        DamagedError: the file holds no JSON object.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise DamagedError(f"{path} is {'a folder' if path.is_dir() else 'no plain file'}: delete it and run again")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged ({error}): run again to repair it") from error
    if not isinstance(values, dict):
        raise DamagedError(f"{path} is damaged (it holds no JSON object): run again to repair it")
    return values


def emptied(folder: Path, mark: str) -> Path:
    """Return the folder, emptied. The mark goes first, so that no reader sees a record whose files are gone."""
    (folder / mark).unlink(missing_ok=True)
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def commit(folder: Path, mark: str, record: FitRecord | CellResult, check: Callable[[], None] = lambda: None) -> None:
    """List every file of a folder in the record, make sure that all are on disk, then write the record itself.

    Args:
        folder: the folder of the record.
        mark: the name of the record's file.
        record: the record.
        check: is called right before the record is written, and raises where it must not be.
    """
    record.files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != mark:
            with path.open("rb+") as stream:
                os.fsync(stream.fileno())
            listed = StoredFile(bytes=path.stat().st_size, sha256=sha256(path))
            record.files[path.relative_to(folder).as_posix()] = listed
    check()
    write_record(folder / mark, record)


def write_record(mark: Path, record: FitRecord | CellResult) -> None:
    """Write a record in one put, with the digest of its content.

    Raises:
        StoreError: the record could not be read back; a field was assigned a value of another type.
    """
    values = record.to_dict()
    type(record).from_dict(values)
    write_durably(mark, record_text(values))


def write_durably(path: Path, text: str) -> None:
    """Write in one put and wait until the file and the entry of its folder are on the disk."""
    with named_in_errors(path), path.open("wb") as stream:
        stream.write(text.encode())
        stream.flush()
        os.fsync(stream.fileno())
    if os.name == "posix":
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def record_text(values: Mapping[str, Any]) -> str:
    """Return JSON with one line for each key of the first level: short, and readable in a diff."""
    lines = (f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
