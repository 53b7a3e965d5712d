"""The objects at the URL of a run: to list, read, put and remove them. The library of its protocol does the work."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from bench.errors import BenchError, StoreError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_EXTRAS = {"s3": "s3", "s3a": "s3"}
"""Protocols whose library is an extra of this project."""
_REMEDIES = {
    "EndpointConnectionError": "Check AWS_ENDPOINT_URL and the network",
    "NoCredentialsError": "Set credentials, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile",
    "The specified bucket does not exist": "Create the bucket first",
}
"""Name or text of an error -> what to do before the same command can work."""


class StoredObject(NamedTuple):
    """An object at the URL: what its entry in the listing says, as a hash, and its size in bytes."""

    stamp: str
    size: int


class ObjectStore:
    """The objects at a URL. Their names are relative to it. Every method may raise a `StoreError`.

    Args:
        url: as fsspec takes it, such as `s3://bucket/run`.
        folder: the working copy, which keeps what could not be put.

    Raises:
        BenchError: the protocol is unknown, its library is missing, or the URL holds a password.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._files, self._root = _opened(url)
        self.url, self._folder = url.rstrip("/"), folder
        self.turn = threading.RLock()
        """Whoever talks to the store holds it: threads take turns."""

    def listed(self, prefix: str) -> dict[str, StoredObject]:
        """Return the objects whose names begin with a folder's, without those whose names leave the folder."""
        with self._faults_named("listing"):
            self._files.invalidate_cache()
            try:
                found = self._files.find(self._at(prefix), detail=True)
            except FileNotFoundError:
                return {}
        start = f"{self._root.rstrip('/')}/"
        entries = {path.removeprefix(start): info for path, info in found.items() if path.startswith(start)}
        return {
            name: StoredObject(_stamp(info), int(info["size"])) for name, info in entries.items() if is_inside(name)
        }

    def read(self, names: Sequence[str]) -> list[bytes]:
        """Return the content of objects."""
        with self._faults_named("reading"):
            contents = self._files.cat_ranges([self._at(name) for name in names], None, None)
            for content in contents:
                if isinstance(content, BaseException):
                    raise content
        return [bytes(content) for content in contents]

    def get(self, objects: Sequence[tuple[str, Path]]) -> None:
        """Fetch objects into files."""
        for _, path in objects:
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._faults_named("reading"):
            if objects:
                self._files.get([self._at(name) for name, _ in objects], [str(path) for _, path in objects])

    def put(self, files: Sequence[tuple[Path, str]]) -> None:
        """Put files under the names of objects."""
        with self._faults_named("writing", f" {self._folder} keeps what is complete."):
            if files:
                self._files.put([str(path) for path, _ in files], [self._at(name) for _, name in files])

    def write(self, name: str, content: bytes) -> None:
        """Put one object of this content."""
        with self._faults_named("writing"):
            self._files.pipe_file(self._at(name), content)

    def require_whole(self, prefix: str, sizes: Mapping[str, int]) -> None:
        """Refuse to go on where files were not put whole.

        Args:
            prefix: the folder of the objects, with its slash.
            sizes: name in this folder -> size in bytes.

        Raises:
            StoreError: a file is missing at the URL, or cut short.
        """
        there = self.listed(prefix) if sizes else {}
        for name, size in sizes.items():
            found = there.get(f"{prefix}{name}")
            if found is None or found.size != size:
                put = f"{found.size:,} of {size:,} bytes" if found is not None else "not there"
                raise StoreError(
                    f"{self.url}/{prefix}{name} was not put whole ({put}), so it does not count. {self._folder} "
                    "keeps it. Run the same command again"
                )

    def remove(self, folder: str) -> None:
        """Remove all objects of a folder, where there are any."""
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
            fault = f"{type(error).__name__}: {str(error) or 'no reason given'}"
            remedy = next((f"{text}, then run" for sign, text in _REMEDIES.items() if sign in fault), "Run")
            raise StoreError(f"{self.url}: {doing} failed ({fault}).{also} {remedy} the same command again") from error


def is_inside(name: str) -> bool:
    """Whether a name stays inside the folder that it is copied into."""
    return bool(name) and "\\" not in name and not {"", ".", ".."} & set(name.split("/")) and ":" not in name


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


def _stamp(info: Mapping[str, Any]) -> str:
    text = repr(sorted((str(key), str(value)) for key, value in info.items()))
    return hashlib.sha256(text.encode()).hexdigest()
