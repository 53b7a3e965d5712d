"""A run at a URL: a working copy on this machine. Records are put as they are made, and fetched before they are read.

The working copy is the folder of a run like any other. All work happens in it: object stores have no rename and no
lock, and libraries load weights from paths. At the URL lies:

    fits/<fit>/fit.json             the mark of a fit, put last: from here on the fit exists
    fits/<fit>/<digest>/<file>      the files that this mark lists; `<digest>` is the one inside it
    cells/<cell>/result.json        the same for a cell
    invocations/<start>-<hash>.json one object for each invocation; together they are `run.json`
    tuning/, calibrations/, answers/ as in a folder
    checkpoints/                    see `bench.store.mirrored_checkpoints`
    report.md, report.html, plots/, exports/, logs/  for people; nothing reads them back

Two machines that make one record put their files under different digests. The mark that was put last decides, and its
files are whole. A mark that is put again leaves the earlier record readable until then.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from filelock import FileLock

from bench.data.files import cache_folder, write_atomically
from bench.errors import StoreError
from bench.records import DIGEST, StoredFile, with_digest, without_digest
from bench.scratch import prefix_beside, remove_abandoned_beside
from bench.store.files import CELL_MARK, FIT_MARK, MODEL, ArtefactError, emptied, sha256
from bench.store.invocations import RUN_FILE, latest_invocations, write_invocations
from bench.store.lock import is_locked
from bench.store.mirrored_checkpoints import MirroredCheckpoints
from bench.store.object_store import ObjectStore, StoredObject, is_inside

RECORDS = {"fits": FIT_MARK, "cells": CELL_MARK}
"""Folders whose content counts from its mark on."""
_INVOCATIONS = "invocations"
_SHARED = (_INVOCATIONS, "tuning", "calibrations", "answers")
"""Folders whose files are put and fetched one by one."""
_LOGS = "logs"
_STATE, _LOCK = ".mirror.json", ".mirror.lock"
_BATCH = 64
"""Records that are fetched together."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_END = ("ended", "seconds", "exit_code", "jobs_done")
"""What an invocation gets when it has ended, so that these keys are no part of its name."""


class _Known(NamedTuple):
    """What this machine knows of an object: its stamp when it was read, empty where it was put, and its SHA-256."""

    stamp: str
    sha256: str


class Mirror:
    """Copies the records of a run between its URL and its working copy. Threads take turns."""

    def __init__(self, url: str) -> None:
        """Open a URL. Nothing is read yet.

        Args:
            url: as fsspec takes it, such as `s3://bucket/run`.

        Raises:
            BenchError: the protocol is unknown, its library is missing, or the URL holds a password.
        """
        self.url = url.rstrip("/")
        self.folder = working_copy(self.url)
        self._objects = ObjectStore(url, self.folder)
        self._turn = self._objects.turn
        self.checkpoints = MirroredCheckpoints(self._objects, self.folder)
        """The checkpoints within fits."""
        self._known: dict[str, _Known] = {}

    # --- fetching -------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Fetch what is new at the URL, unless a run of this machine works in the working copy.

        Raises:
            StoreError: the URL cannot be read, or an invocation there is damaged.
        """
        with self._alone():
            if is_locked(self.folder) is not True:
                self._pull()

    def pull(self) -> None:
        """Fetch what is new at the URL, for the run that works in the working copy.

        What this machine has made and not put yet stays, unless the URL has got another version since.

        Raises:
            StoreError: the URL cannot be read, or an invocation there is damaged.
        """
        with self._alone():
            self._pull()

    def fetch_weights(self, fit: str) -> None:
        """Fetch the artefact of a fit, unless the working copy holds every file of it in its recorded size.

        Raises:
            ArtefactError: a file at the URL is missing or damaged. The working copy keeps none of them.
            StoreError: the URL cannot be read.
        """
        folder = self.folder / "fits" / fit
        weights, digest = _weights_of(folder / FIT_MARK)
        if not weights or _has_files(folder, weights):
            return
        prefix = f"fits/{fit}/{digest}/"
        shutil.rmtree(folder / MODEL, ignore_errors=True)
        remove_abandoned_beside(folder / MODEL)
        with tempfile.TemporaryDirectory(prefix=prefix_beside(folder / MODEL), dir=folder) as scratch:
            with self._turn:
                there = self._objects.listed(prefix)
                self._objects.get(
                    [(f"{prefix}{name}", Path(scratch, name)) for name in weights if f"{prefix}{name}" in there]
                )
            for name, file in weights.items():
                path = Path(scratch, name)
                if not path.is_file() or sha256(path) != file.sha256:
                    raise ArtefactError(
                        f"{self.url}/{prefix}{name} is missing or damaged. If the same command fails again, restore "
                        f"it, or delete {self.url}/fits/{fit} and run again"
                    )
            try:
                Path(scratch, MODEL).rename(folder / MODEL)
            except OSError:
                if not _has_files(folder, weights):  # else another process of this machine was faster
                    raise

    # --- putting --------------------------------------------------------------------------------------------------

    def push(self) -> None:
        """Put everything that the working copy has and the URL lacks.

        Raises:
            StoreError: something could not be put. The working copy keeps it.
        """
        for kind, mark in RECORDS.items():
            for path in sorted((self.folder / kind).glob(f"*/{mark}")):
                self.push_record(kind, path.parent.name)
        self.publish(())

    def push_record(self, kind: str, name: str) -> None:
        """Put a fit or cell: its files, then its mark. From then on it exists for other machines.

        A record that is there already, or that does not fit the files beside it, is left alone.

        Args:
            kind: `fits` or `cells`.
            name: the name of the record.

        Raises:
            StoreError: something could not be put, or not whole. No reader sees what was put.
        """
        mark = f"{kind}/{name}/{RECORDS[kind]}"
        with self._turn:
            if not self._is_new(mark):
                return
            folder = self.folder / kind / name
            listed, digest = _files_of((self.folder / mark).read_bytes())
            here = {each: file.bytes for each, file in listed.items() if (folder / each).is_file()}
            if not digest or any((folder / each).stat().st_size != size for each, size in here.items()):
                return  # damaged: `Store.problems` names it
            prefix = f"{kind}/{name}/{digest}/"
            replaced = self._digest_at(mark) if mark in self._known else ""
            self._objects.put([(folder / each, f"{prefix}{each}") for each in here])
            self._objects.require_whole(prefix, here)
            self._put_shared([mark])
            if replaced not in ("", digest):
                self._objects.remove(f"{kind}/{name}/{replaced}")

    def withdraw(self) -> None:
        """Remove from the URL the records whose marks this machine has removed, because what they measured is replaced.

        Raises:
            StoreError: the URL cannot be written.
        """
        with self._alone():
            for name in [each for each in self._known if each.split("/")[0] in RECORDS]:
                if not (self.folder / name).is_file():
                    self._objects.remove(name.rpartition("/")[0])
                    del self._known[name]
                    self._remember()

    def publish(self, files: Sequence[Path]) -> list[str]:
        """Put the files that lie beside the records: invocations, studies, calibrations, answers, logs of failures.

        Args:
            files: further files of the working copy, for people.

        Returns:
            The URLs of `files`.

        Raises:
            StoreError: something could not be put. The working copy keeps it.
        """
        with self._turn:
            self._write_invocations()
            shared = [path for name in _SHARED for path in sorted((self.folder / name).rglob("*"))]
            shared += sorted((self.folder / _LOGS).glob("*.log"))
            names = [self._name(path) for path in shared if path.is_file() and not path.name.startswith(".")]
            self._put_shared([name for name in names if self._is_new(name)])
            pages = [self._name(path) for path in files]
            self._objects.put([(self.folder / name, name) for name in pages])
        return [f"{self.url}/{name}" for name in pages]

    # --- inside: the working copy ---------------------------------------------------------------------------------

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes of this machine from changing the working copy."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._turn, FileLock(self.folder / _LOCK):
            self._known = self._remembered()
            yield
            self._remember()

    def _pull(self) -> None:
        with suppress(StoreError):  # a damaged run.json: the files of the invocations replace it
            self._write_invocations()
        objects = self._objects.listed("")
        self._remove_vanished(objects)
        changed = [name for name in objects if _is_read(name) and self._has_changed(name, objects[name])]
        for start in range(0, len(changed), _BATCH):
            batch = changed[start : start + _BATCH]
            contents = dict(zip(batch, self._objects.read(batch), strict=True))
            fetched = {name: content for name, content in contents.items() if self._is_foreign(name, content)}
            self._objects.get(list(self._files_beside(fetched, objects)))
            for name, content in fetched.items():
                write_atomically(self.folder / name, content)
            for name, content in contents.items():
                self._known[name] = _Known(objects[name].stamp, _digest(content))
            self._remember()
        self._remove_cut_weights()
        self._read_invocations()

    def _files_beside(
        self, marks: Mapping[str, bytes], objects: Mapping[str, StoredObject]
    ) -> Iterator[tuple[str, Path]]:
        """Yield the files to fetch for records, and their places, which are emptied. Weights are fetched when used."""
        for mark, content in marks.items():
            kind, name, *_ = mark.split("/")
            if kind not in RECORDS:
                continue
            folder = emptied(self.folder / kind / name, RECORDS[kind])
            listed, digest = _files_of(content)
            for each in listed:
                if f"{kind}/{name}/{digest}/{each}" in objects and not each.startswith(f"{MODEL}/"):
                    yield f"{kind}/{name}/{digest}/{each}", folder / each

    def _has_changed(self, name: str, entry: StoredObject) -> bool:
        known = self._known.get(name)
        return known is None or known.stamp != entry.stamp or not (self.folder / name).is_file()

    def _is_foreign(self, name: str, content: bytes) -> bool:
        """Whether the URL holds another content than the working copy, and this machine has not replaced it since."""
        path = self.folder / name
        if not path.is_file():
            return True
        if name.split("/")[0] in RECORDS and not _is_whole(content):
            return False  # the own record is put again
        known, there = self._known.get(name), _digest(content)
        return there not in (sha256(path), known.sha256 if known else "")

    def _is_new(self, name: str) -> bool:
        """Whether the working copy has a file whose content was not put yet."""
        path, known = self.folder / name, self._known.get(name)
        return path.is_file() and (known is None or known.sha256 != sha256(path))

    def _remove_vanished(self, objects: Mapping[str, StoredObject]) -> None:
        """Remove from the working copy what was at the URL and is there no longer, unless it was made again here."""
        for name in [name for name in self._known if name not in objects]:
            path = self.folder / name
            if path.is_file() and sha256(path) == self._known[name].sha256:
                path.unlink()
                if name.split("/")[0] in RECORDS:
                    shutil.rmtree(path.parent)
            del self._known[name]

    def _remove_cut_weights(self) -> None:
        """Remove artefacts that do not fit their records at the URL. They hide their fits; missing ones are fetched."""
        for path in [self.folder / name for name in self._known if name.startswith("fits/")]:
            is_here_and_put = path.with_name(MODEL).is_dir() and not self._is_new(self._name(path))
            if is_here_and_put and not _has_files(path.parent, _weights_of(path)[0]):
                shutil.rmtree(path.with_name(MODEL))

    def _write_invocations(self) -> None:
        """Write each invocation of `run.json` into a file of its own. One that has ended stays as it is."""
        for each in latest_invocations(self.folder):
            path = self.folder / _INVOCATIONS / _invocation_file(each)
            if "ended" in each or not path.is_file():
                content = json.dumps(with_digest({"invocation": each}), indent=1, ensure_ascii=False).encode()
                if not path.is_file() or path.read_bytes() != content:
                    write_atomically(path, content)

    def _read_invocations(self) -> None:
        """Write `run.json` from the files of the invocations of all machines."""
        started: list[tuple[datetime, int, dict[str, Any]]] = []
        for path in sorted((self.folder / _INVOCATIONS).glob("*.json")):
            try:
                invocation = without_digest(json.loads(path.read_text(encoding="utf-8")))["invocation"]
                started.append((_start(invocation), len(started), invocation))
            except (ValueError, KeyError, TypeError, AttributeError, StoreError) as error:
                raise StoreError(f"{self.url}/{self._name(path)} is damaged ({error}): delete it") from error
        invocations = [invocation for _, _, invocation in sorted(started)]  # a file's name has the second alone
        if invocations or (self.folder / RUN_FILE).is_file():
            write_invocations(self.folder, invocations, invocations)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _remembered(self) -> dict[str, _Known]:
        """Return what the working copy knows of the URL. A damaged file costs a comparison of every record."""
        try:
            values = without_digest(json.loads((self.folder / _STATE).read_text(encoding="utf-8")))
            return {name: _Known(*each) for name, each in values["objects"].items()}
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, StoreError):
            return {}

    def _remember(self) -> None:
        values = with_digest({"url": self.url, "objects": {name: list(each) for name, each in self._known.items()}})
        write_atomically(self.folder / _STATE, json.dumps(values).encode())

    # --- inside: the URL ------------------------------------------------------------------------------------------

    def _put_shared(self, names: Sequence[str]) -> None:
        """Put files that lie at the URL under their own names, and remember them."""
        known = {name: _Known("", sha256(self.folder / name)) for name in names}
        self._objects.put([(self.folder / name, name) for name in names])
        if known:
            self._known |= known
            self._remember()

    def _digest_at(self, mark: str) -> str:
        """Return the digest of the record that lies at the URL."""
        with suppress(StoreError):  # it is damaged or gone: the new one replaces it
            return _files_of(*self._objects.read([mark]))[1]
        return ""


def working_copy(url: str) -> Path:
    """Return the folder of the working copy of a run at a URL, in the user's cache folder."""
    last = re.sub(r"[^\w.-]+", "-", PurePosixPath(url).name).strip(".-")[:40]
    return cache_folder() / "runs" / f"{last or 'run'}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


def _is_read(name: str) -> bool:
    """Whether readers fetch an object in any case: the mark of a record, or a shared file."""
    kind, *rest = name.split("/")
    return kind in _SHARED or (len(rest) == 2 and rest[1] == RECORDS.get(kind))


def _files_of(mark: bytes) -> tuple[dict[str, StoredFile], str]:
    """Return the files that a record lists, and its digest; nothing for a record that cannot be read."""
    try:
        values = json.loads(mark)
        digest = str(values[DIGEST])
        listed = {str(name): each for name, each in values["files"].items() if is_inside(str(name))}
        files = {
            name: StoredFile(bytes=int(each["bytes"]), sha256=str(each["sha256"])) for name, each in listed.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}, ""
    return (files, digest) if _SHA256.fullmatch(digest) else ({}, "")


def _weights_of(mark: Path) -> tuple[dict[str, StoredFile], str]:
    """Return the files of the artefact that the record of a fit lists, and its digest."""
    listed, digest = _files_of(mark.read_bytes())
    return {name: file for name, file in listed.items() if name.startswith(f"{MODEL}/")}, digest


def _has_files(folder: Path, files: Mapping[str, StoredFile]) -> bool:
    """Whether a folder has every file in its recorded size."""
    paths = {folder / name: file.bytes for name, file in files.items()}
    return all(path.is_file() and path.stat().st_size == size for path, size in paths.items())


def _is_whole(mark: bytes) -> bool:
    """Whether the content of a record has its digest."""
    try:
        without_digest(json.loads(mark))
    except (ValueError, AttributeError, RecursionError, StoreError):
        return False
    return True


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _invocation_file(invocation: Mapping[str, Any]) -> str:
    """Return the name of an invocation's file: the time of its start, and a hash of what it knew then."""
    began = {key: value for key, value in invocation.items() if key not in _END}
    return f"{_start(invocation):%Y%m%dT%H%M%S}-{with_digest(began)[DIGEST][:12]}.json"


def _start(invocation: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(invocation["started"]).astimezone(UTC)
