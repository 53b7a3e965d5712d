"""Records on disk: written last and in one put, with size and SHA-256 of all beside them; checked when read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import StoreError
from bench.records import SCHEMA_VERSION, CellResult, FitRecord

MODEL = "model"
"""Folder of the artefact beside `fit.json`."""

Record = TypeVar("Record", FitRecord, CellResult)


class MissingError(StoreError):
    """There is no such record."""


class ArtefactError(StoreError):
    """A record stands, but a file beside it is missing or is not what was written."""


class DamagedError(StoreError):
    """A record is there and cannot be used; making the fit or cell again repairs it."""


def read(mark: Path, record: type[Record]) -> Record:
    """Read a record and check that what it lists is there, by size; the content is checked where it is used."""
    try:
        raw = json.loads(mark.read_text(encoding="utf-8"))
        newer = raw["schema_version"] > SCHEMA_VERSION
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{mark} is damaged ({error}): run again to repair it") from error
    try:
        result = record.from_dict(raw)
    except StoreError as error:
        kind = StoreError if newer else DamagedError
        raise kind(f"{mark}: {error}") from error
    without_weights = not (mark.parent / MODEL).is_dir()
    for name, facts in result.files.items():
        path = mark.parent / name
        if name.startswith(f"{MODEL}/") and without_weights:
            continue  # records are kept, and committed, without weights; who needs those makes the fit again
        if not path.is_file() or path.stat().st_size != facts["bytes"]:
            raise DamagedError(f"{path} is missing or cut short: run again to repair it")
    return result


def emptied(folder: Path, mark: str) -> Path:
    """Empty a folder: the mark first, so that no reader sees a record whose files are going, then the rest."""
    (folder / mark).unlink(missing_ok=True)
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def commit(folder: Path, mark: str, record: FitRecord | CellResult) -> None:
    """List every file of a folder in the record, make sure that all is on disk, then write the record itself."""
    record.files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != mark:
            with path.open("rb+") as stream:
                os.fsync(stream.fileno())
            record.files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    write_durably(folder / mark, as_json(record.to_dict()))


def write_durably(path: Path, text: str) -> None:
    """Write in one put and wait until it is on the disk, the folder's entry included."""
    with path.open("wb") as stream:
        stream.write(text.encode())
        stream.flush()
        os.fsync(stream.fileno())
    if os.name == "posix":
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def as_json(value: Any) -> str:
    """Return the text of a record."""
    return json.dumps(value, indent=1, ensure_ascii=False, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    """NumPy scalars, paths and sets have no JSON form of their own."""
    if hasattr(value, "item"):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} cannot be written to a record")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
