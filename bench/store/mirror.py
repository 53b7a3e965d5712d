"""A run at a URL: a working copy on this machine. Records are put as they are made, and fetched before they are read.

The working copy is the folder of a run like any other. All work happens in it: object stores have no rename and no
lock, and libraries load weights from paths. At the URL lies:

    fits/<fit>/fit.json             the mark of a fit, put last: from here on the fit exists
    fits/<fit>/<digest>/<file>      the files that this mark lists; `<digest>` is the one inside it
    cells/<cell>/result.json        the same for a cell
    invocations/<start>-<hash>.json one object for each invocation; together they are `run.json`
    tuning/, calibrations/, answers/ as in a folder
    checkpoints/<fit>/checkpoint.json     the mark of the newest checkpoint within a fit, put last
    checkpoints/<fit>/<digest>/<file>     the state that this mark names
    report.md, report.html, plots/, exports/, logs/  for people; nothing reads them back

Two machines that make one record put their files under different digests. The mark that was put last decides, and its
files are whole. A mark that is put again leaves the earlier record readable until then. The same holds for checkpoints.
A run fetches those of its pending fits, and no other command needs any.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from filelock import FileLock

from bench.data.files import cache_folder, write_atomically
from bench.errors import BenchError, StoreError
from bench.records import DIGEST, with_digest, without_digest
from bench.scratch import prefix_beside, remove_abandoned_beside
from bench.store.checkpoint_mark import CHECKPOINT_MARK, CHECKPOINTS, CheckpointMark
from bench.store.files import CELL_MARK, FIT_MARK, MODEL, emptied, sha256
from bench.store.invocations import RUN_FILE, latest_invocations, write_invocations
from bench.store.lock import is_locked

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

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
_EXTRAS = {"s3": "s3", "s3a": "s3"}
"""Protocols whose library is an extra of this project."""


class _Entry(NamedTuple):
    """An object at the URL: what its entry in the listing says, as a hash, and its size in bytes."""

    stamp: str
    size: int


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
        self._files, self._root = _opened(self.url)
        self._known: dict[str, _Known] = {}
        self._checkpoints: dict[str, str] = {}
        """Fit -> digest of the mark of its checkpoint at the URL; empty where this process does not know it."""
        self._turn = threading.RLock()

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
        """Fetch the artefact of a fit, unless the working copy holds it. Whoever reads it checks its content.

        Raises:
            StoreError: the URL cannot be read.
        """
        folder = self.folder / "fits" / fit
        if (folder / MODEL).is_dir():
            return
        listed, digest = _files_of((folder / FIT_MARK).read_bytes())
        prefix = f"fits/{fit}/{digest}/"
        weights = [name for name in listed if name.startswith(f"{MODEL}/")]
        if not weights or not digest:
            return
        remove_abandoned_beside(folder / MODEL)
        with tempfile.TemporaryDirectory(prefix=prefix_beside(folder / MODEL), dir=folder) as scratch:
            with self._turn:
                there = self._listed(prefix)
                self._get([(f"{prefix}{name}", Path(scratch, name)) for name in weights if f"{prefix}{name}" in there])
            Path(scratch, MODEL).mkdir(exist_ok=True)
            try:
                Path(scratch, MODEL).rename(folder / MODEL)
            except OSError:
                if not (folder / MODEL).is_dir():  # else another process of this machine was faster
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
            here = {each: size for each, size in listed.items() if (folder / each).is_file()}
            if not digest or any((folder / each).stat().st_size != size for each, size in here.items()):
                return  # damaged: `Store.problems` names it
            prefix = f"{kind}/{name}/{digest}/"
            replaced = self._digest_at(mark) if mark in self._known else ""
            self._put([(folder / each, f"{prefix}{each}") for each in here])
            self._require_whole(prefix, here)
            self._put_shared([mark])
            if replaced not in ("", digest):
                self._remove(f"{kind}/{name}/{replaced}")

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
            self._put([(self.folder / name, name) for name in pages])
        return [f"{self.url}/{name}" for name in pages]

    # --- checkpoints within a fit ---------------------------------------------------------------------------------

    def checkpoints(self) -> set[str]:
        """Return the names of the fits that have a checkpoint at the URL, or a part of one.

        Raises:
            StoreError: the URL cannot be read.
        """
        with self._turn:
            names = [name.split("/") for name in self._listed(f"{CHECKPOINTS}/")]
            fits = {parts[1] for parts in names if len(parts) > 2}
            self._checkpoints = {fit: self._checkpoints.get(fit, "") for fit in fits}
        return fits

    def fetch_checkpoints(self, fits: Collection[str]) -> None:
        """Fetch the checkpoints of fits, unless the working copy holds one of as many steps.

        It also keeps one of another machine class, because the fits of this class refuse the one at the URL. The fit
        checks what it reads, so a state that is missing or damaged is fetched as it is.

        Args:
            fits: names of fits. Those that `checkpoints` has not returned have nothing to fetch.

        Raises:
            StoreError: the URL cannot be read.
        """
        with self._turn:
            if known := sorted(self._checkpoints.keys() & fits):
                there = self._listed(f"{CHECKPOINTS}/")
                for fit in known:
                    self._fetch_checkpoint(fit, there)

    def push_checkpoint(self, fit: str) -> None:
        """Put the checkpoint of a fit that the working copy holds: its state, then its mark.

        One that is there already, or that the fit replaces meanwhile, is left alone.

        Raises:
            StoreError: something could not be put, or not whole. No reader sees what was put.
        """
        folder, place = self.folder / CHECKPOINTS / fit, f"{CHECKPOINTS}/{fit}"
        with self._turn:
            content = _content(folder / CHECKPOINT_MARK)
            mark, replaced = CheckpointMark.of(content), self._checkpoints.get(fit, "")
            if mark is None or mark.digest == replaced:
                return
            if mark.state:
                state, prefix = folder / mark.state, f"{place}/{mark.digest}/"
                try:
                    size = state.stat().st_size
                    self._put([(state, f"{prefix}{mark.state}")])
                except (OSError, StoreError):
                    if _content(folder / CHECKPOINT_MARK) != content or not state.is_file():
                        return  # the fit has replaced it: the next one is put
                    raise
                self._require_whole(prefix, {mark.state: size})
            with self._faults_named("writing"):
                self._files.pipe_file(self._at(f"{place}/{CHECKPOINT_MARK}"), content)
            self._checkpoints[fit] = mark.digest
            if replaced:
                self._remove(f"{place}/{replaced}")

    def remove_checkpoint(self, fit: str) -> None:
        """Remove the checkpoint of a fit from the URL, if this process knows of one there.

        Raises:
            StoreError: it could not be removed.
        """
        with self._turn:
            if fit in self._checkpoints:
                self._remove(f"{CHECKPOINTS}/{fit}")
                del self._checkpoints[fit]

    def _fetch_checkpoint(self, fit: str, there: Collection[str]) -> None:
        """Fetch the checkpoint of a fit, if its mark is among the objects at the URL."""
        place, folder = f"{CHECKPOINTS}/{fit}", self.folder / CHECKPOINTS / fit
        if f"{place}/{CHECKPOINT_MARK}" not in there:
            return
        (content,) = self._read([f"{place}/{CHECKPOINT_MARK}"])
        mark, own = CheckpointMark.of(content), CheckpointMark.of(_content(folder / CHECKPOINT_MARK))
        self._checkpoints[fit] = mark.digest if mark is not None else ""
        if own is not None and (mark is None or mark.step <= own.step or mark.machine != own.machine):
            return
        shutil.rmtree(folder, ignore_errors=True)
        if mark is not None and f"{place}/{mark.digest}/{mark.state}" in there:
            self._get([(f"{place}/{mark.digest}/{mark.state}", folder / mark.state)])
        write_atomically(folder / CHECKPOINT_MARK, content)

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
        objects = self._listed("")
        self._remove_vanished(objects)
        changed = [name for name in objects if _is_read(name) and self._has_changed(name, objects[name])]
        for start in range(0, len(changed), _BATCH):
            batch = changed[start : start + _BATCH]
            contents = dict(zip(batch, self._read(batch), strict=True))
            fetched = {name: content for name, content in contents.items() if self._is_foreign(name, content)}
            self._get(list(self._files_beside(fetched, objects)))
            for name, content in fetched.items():
                write_atomically(self.folder / name, content)
            for name, content in contents.items():
                self._known[name] = _Known(objects[name].stamp, _digest(content))
            self._remember()
        self._read_invocations()

    def _files_beside(self, marks: Mapping[str, bytes], objects: Mapping[str, _Entry]) -> Iterator[tuple[str, Path]]:
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

    def _has_changed(self, name: str, entry: _Entry) -> bool:
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

    def _remove_vanished(self, objects: Mapping[str, _Entry]) -> None:
        """Remove from the working copy what was at the URL and is there no longer, unless it was made again here."""
        for name in [name for name in self._known if name not in objects]:
            path = self.folder / name
            if path.is_file() and sha256(path) == self._known[name].sha256:
                path.unlink()
                if name.split("/")[0] in RECORDS:
                    shutil.rmtree(path.parent)
            del self._known[name]

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

    def _listed(self, prefix: str) -> dict[str, _Entry]:
        """Return the objects whose names begin with a folder's, without those whose names leave the folder."""
        with self._faults_named("listing"):
            self._files.invalidate_cache()
            try:
                found = self._files.find(self._at(prefix), detail=True)
            except FileNotFoundError:
                return {}
        start = f"{self._root.rstrip('/')}/"
        entries = {path.removeprefix(start): info for path, info in found.items() if path.startswith(start)}
        return {name: _Entry(_stamp(info), int(info["size"])) for name, info in entries.items() if _is_inside(name)}

    def _read(self, names: Sequence[str]) -> list[bytes]:
        with self._faults_named("reading"):
            contents = self._files.cat_ranges([self._at(name) for name in names], None, None)
            for content in contents:
                if isinstance(content, BaseException):
                    raise content
        return [bytes(content) for content in contents]

    def _get(self, files: Sequence[tuple[str, Path]]) -> None:
        for _, path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._faults_named("reading"):
            if files:
                self._files.get([self._at(name) for name, _ in files], [str(path) for _, path in files])

    def _put(self, files: Sequence[tuple[Path, str]]) -> None:
        with self._faults_named("writing", f" {self.folder} keeps what is complete."):
            if files:
                self._files.put([str(path) for path, _ in files], [self._at(name) for _, name in files])

    def _put_shared(self, names: Sequence[str]) -> None:
        """Put files that lie at the URL under their own names, and remember them."""
        known = {name: _Known("", sha256(self.folder / name)) for name in names}
        self._put([(self.folder / name, name) for name in names])
        if known:
            self._known |= known
            self._remember()

    def _require_whole(self, prefix: str, sizes: Mapping[str, int]) -> None:
        """Refuse to go on where files were not put whole.

        Raises:
            StoreError: a file is missing at the URL, or cut short.
        """
        there = self._listed(prefix) if sizes else {}
        for name, size in sizes.items():
            entry = there.get(f"{prefix}{name}")
            if entry is None or entry.size != size:
                put = f"{entry.size:,} of {size:,} bytes" if entry is not None else "not there"
                raise StoreError(
                    f"{self.url}/{prefix}{name} was not put whole ({put}), so it does not count. {self.folder} "
                    "keeps it. Run the same command again"
                )

    def _digest_at(self, mark: str) -> str:
        """Return the digest of the record that lies at the URL."""
        with suppress(StoreError):  # it is damaged or gone: the new one replaces it
            return _files_of(*self._read([mark]))[1]
        return ""

    def _remove(self, folder: str) -> None:
        with self._faults_named("removing what is no longer needed"), suppress(FileNotFoundError):
            self._files.invalidate_cache()
            self._files.rm(self._at(folder), recursive=True)

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}".rstrip("/")

    @contextmanager
    def _faults_named(self, doing: str, also: str = "") -> Iterator[None]:
        """Turn whatever a library of a protocol raises into a `StoreError`."""
        try:
            yield
        except BenchError:
            raise
        except Exception as error:
            message = str(error) or "no reason given"
            raise StoreError(
                f"{self.url}: {doing} failed ({type(error).__name__}: {message}).{also} Run the same command again"
            ) from error


def working_copy(url: str) -> Path:
    """Return the folder of the working copy of a run at a URL, in the user's cache folder."""
    last = re.sub(r"[^\w.-]+", "-", PurePosixPath(url).name).strip(".-")[:40]
    return cache_folder() / "runs" / f"{last or 'run'}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


def _opened(url: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a URL, and the path of the run in it.

    Raises:
        BenchError: the protocol is unknown, its library is missing, or the URL holds a password or no path.
    """
    from fsspec.core import url_to_fs

    if urlsplit(url).password:
        raise BenchError("a URL with a password would stand in records: give it to the library by its own settings")
    try:
        files, root = url_to_fs(url)
    except ImportError as error:
        extra = _EXTRAS.get(url.partition("://")[0])
        install = f"pip install 'adaptbench[{extra}]'" if extra else str(error)
        raise BenchError(f"{url} needs a library that is not installed: {install}") from error
    except ValueError as error:
        raise BenchError(f"{url}: {error}") from error
    if not root.strip("/") or not url.partition("://")[2].strip("/"):
        raise BenchError(f"{url} names no folder: write a path, such as {url.partition('://')[0]}://bucket/run")
    return files, root


def _is_read(name: str) -> bool:
    """Whether readers fetch an object in any case: the mark of a record, or a shared file."""
    kind, *rest = name.split("/")
    return kind in _SHARED or (len(rest) == 2 and rest[1] == RECORDS.get(kind))


def _is_inside(name: str) -> bool:
    """Whether a name stays inside the folder that it is copied into."""
    return bool(name) and "\\" not in name and not {"", ".", ".."} & set(name.split("/")) and ":" not in name


def _files_of(mark: bytes) -> tuple[dict[str, int], str]:
    """Return the files that a record lists, with their sizes, and its digest; nothing for one that cannot be read."""
    try:
        values = json.loads(mark)
        digest = str(values[DIGEST])
        files = {str(name): int(each["bytes"]) for name, each in values["files"].items() if _is_inside(str(name))}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}, ""
    return (files, digest) if _SHA256.fullmatch(digest) else ({}, "")


def _is_whole(mark: bytes) -> bool:
    """Whether the content of a record has its digest."""
    try:
        without_digest(json.loads(mark))
    except (ValueError, AttributeError, RecursionError, StoreError):
        return False
    return True


def _content(path: Path) -> bytes:
    """Return the content of a file; nothing where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _stamp(info: Mapping[str, Any]) -> str:
    return _digest(repr(sorted((str(key), str(value)) for key, value in info.items())).encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _invocation_file(invocation: Mapping[str, Any]) -> str:
    """Return the name of an invocation's file: the time of its start, and a hash of what it knew then."""
    began = {key: value for key, value in invocation.items() if key not in _END}
    return f"{_start(invocation):%Y%m%dT%H%M%S}-{with_digest(began)[DIGEST][:12]}.json"


def _start(invocation: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(invocation["started"]).astimezone(UTC)
