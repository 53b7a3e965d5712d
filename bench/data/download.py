"""Downloads datasets: from the Hugging Face hub, or as checked ZIP archives that resume after an interruption.

pooch sends the requests and checks the hashes. It cannot resume, so its downloader is extended here. The archives are
unpacked here too: pooch would write members with unsafe names instead of refusing them.
"""

from __future__ import annotations

import logging
import lzma
import os
import shutil
import stat
import sys
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from bench.data.bounded import RatioError, require_ratio
from bench.data.catalogue import Archive, CatalogueEntry
from bench.data.folders import is_dataset, new_folder
from bench.data.hub import fetch_hub
from bench.errors import DataError

ATTEMPTS = 3
"""Number of attempts in a row that may bring nothing. As long as data arrive, the download goes on."""
_TIMEOUT_SECONDS = 60
_CHUNK = 4096
"""Bytes written at once. An interrupted connection loses less than this."""


def fetch(entry: CatalogueEntry, root: Path) -> Path:
    """Download a dataset into `root` and return its folder. The folder appears when it is complete.

    The hub is tried first, then each address of the archive. An interrupted download resumes, in the same call and in
    the next one.

    Raises:
        DataError: every source failed. The message says how each one failed.
    """
    if os.environ.get("BENCH_OFFLINE"):
        raise DataError(f"dataset {entry.name!r} is not on this machine, and BENCH_OFFLINE forbids the download")
    failures: list[str] = []
    if entry.hub is not None:
        try:
            return fetch_hub(entry.hub, root / entry.name, entry)
        except DataError as error:
            failures.append(str(error))
    if entry.archive is not None:
        try:
            return fetch_archive(entry.archive, root)
        except DataError as error:
            failures.append(str(error))
    raise DataError(f"dataset {entry.name!r} could not be downloaded:\n" + "\n".join(failures))


def fetch_archive(archive: Archive, root: Path) -> Path:
    """Download, check and unpack an archive, and return the folder of its dataset.

    Raises:
        DataError: no address gave a complete archive, or the archive does not hold the dataset.
    """
    from filelock import FileLock

    folder = root / archive.folder
    parts = root / ".parts"
    parts.mkdir(parents=True, exist_ok=True)
    top = PurePosixPath(archive.folder).parts[0]
    with FileLock(parts / f"{top}.lock"):
        if is_dataset(folder):  # another process has downloaded it meanwhile
            return folder
        if (root / top).exists():
            raise DataError(f"{root / top}: exists, but holds no dataset {archive.folder}: remove it and try again")
        file = download(archive, parts / f"{top}.zip")
        try:
            with new_folder(root / top) as temporary:
                _unpack(file, temporary, top)
                if not is_dataset(temporary.joinpath(*PurePosixPath(archive.folder).parts[1:])):
                    raise DataError(f"{file.name}: the archive holds no dataset in its folder {archive.folder!r}")
        finally:
            file.unlink(missing_ok=True)
    return folder


def download(archive: Archive, file: Path) -> Path:
    """Download an archive to `file` from the first address that gives it complete, and return `file`.

    Raises:
        DataError: every address failed. The message says how each one failed.
    """
    failures: list[str] = []
    for url in archive.urls:
        part = file.with_suffix(".part")
        resumed = part.exists()
        problem = _try_address(url, archive, file, part)
        if problem and resumed and not part.exists():
            problem = _try_address(url, archive, file, part)  # the part may have belonged to another version
        if not problem:
            return file
        failures.append(f"{url}: {problem}")
    raise DataError("\n".join(failures) or "the catalogue names no address for this archive")


def _try_address(url: str, archive: Archive, file: Path, part: Path) -> str:
    """Download from one address. Return the problem, or an empty string. A file that fails its check is removed."""
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.ERROR)
    known_hash = f"md5:{archive.md5}" if archive.md5 else None
    try:
        pooch.retrieve(url, known_hash, file.name, file.parent, downloader=_ResumingDownloader(part))
    except (ValueError, requests.RequestException) as error:  # pooch raises ValueError for a wrong hash
        return str(error)
    size = file.stat().st_size
    if (archive.bytes and size != archive.bytes) or not zipfile.is_zipfile(file):
        file.unlink()
        expected = f"{archive.bytes} bytes" if archive.bytes else "a ZIP archive"
        return f"expected {expected}, received {size} bytes that are not a complete one"
    return ""


class _ResumingDownloader:
    """A downloader for pooch that continues the file `part` and hands it over once it is complete."""

    def __init__(self, part: Path) -> None:
        self.part = part

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Download an address to `output_file`.

        Raises:
            requests.RequestException: several attempts in a row brought nothing. The part is kept.
        """
        import requests

        idle = 0
        while True:
            before = self._size()
            try:
                self._receive(url, before)
                break
            except requests.RequestException as error:
                status = error.response.status_code if error.response is not None else None
                if status == 416 and before:  # nothing is missing; the hash decides whether it is the file
                    break
                idle = 0 if self._size() > before else idle + 1
                if idle == ATTEMPTS or (status is not None and status < 500):
                    raise
        self.part.replace(output_file)

    def _receive(self, url: str, begin: int) -> None:
        """Append the rest of the file, or replace the part where the server sends the whole file again."""
        from pooch import HTTPDownloader

        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={begin}-"} if begin else {})
        with self.part.open("ab") as stream:

            def start_again(response: Any, *args: object, **options: object) -> None:
                if response.status_code == 200:
                    stream.truncate(0)

            receive = HTTPDownloader(
                progressbar=sys.stderr.isatty(),
                chunk_size=_CHUNK,
                timeout=_TIMEOUT_SECONDS,
                headers=headers,
                hooks={"response": start_again},
            )
            receive(url, stream, None)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0


def _unpack(path: Path, target: Path, top: str) -> None:
    """Unpack the folder `top` of an archive into `target`: plain files and folders, and nothing outside `target`.

    Raises:
        DataError: a name leads out of the archive or is a link, the disk is too small, or a file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [(member, _inside(path, member, top)) for member in archive.infolist()]
            needed = sum(member.file_size for member, inner in members if inner is not None)
            require_ratio(path.stat().st_size, needed)
            if needed > (free := shutil.disk_usage(target).free):
                raise DataError(f"{path.name}: unpacking needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
            for member, inner in members:
                if inner is None or member.is_dir():
                    continue
                place = target / inner
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, place.open("wb") as stream:
                    shutil.copyfileobj(source, stream, 1 << 20)
    except RatioError as error:
        raise DataError(f"{path.name}: unsafe archive: {error}") from error
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        ValueError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise DataError(f"{path.name}: damaged archive: {error}") from error
    except OSError as error:  # a damaged bzip2 stream, a name that the disk refuses, a full disk
        raise DataError(f"{path.name} cannot be unpacked into {target}: {error}") from error


def _inside(path: Path, member: zipfile.ZipInfo, top: str) -> PurePosixPath | None:
    """Return a member's path below the folder `top`, or None for a member outside it."""
    name = PurePosixPath(member.filename.replace("\\", "/"))
    if not name.parts:  # the folder itself
        return None
    if name.is_absolute() or ".." in name.parts or ":" in name.parts[0] or "\0" in member.filename:
        raise DataError(f"{path.name}: unsafe archive: {member.filename!r} leads out of its folder")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise DataError(f"{path.name}: unsafe archive: {member.filename!r} is a link")
    if name.parts[0] != top or len(name.parts) < 2:
        return None
    return PurePosixPath(*name.parts[1:])
