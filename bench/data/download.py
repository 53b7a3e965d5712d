"""Datasets from the network: archives checked and resumed, hub datasets through the `datasets` library.

The `beir` library's own downloader is not used: it neither resumes nor checks, and needs a library that it does not
bring.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import stat
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath

from bench.data.catalogue import Archive, CatalogueEntry
from bench.data.folders import is_dataset, new_folder
from bench.errors import DataError

ATTEMPTS = 3
"""Times in a row that an address may give nothing; as long as something arrives it is asked to go on."""
TIMEOUT_SECONDS = 60
_CHUNK = 1 << 20


class _Broken(Exception):
    """The connection broke or the server answered badly; the text says how. What has arrived is kept.

    `final`: asking again would not help.
    """

    def __init__(self, text: str, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


def fetch(entry: CatalogueEntry, root: Path) -> Path:
    """Download a dataset into `root` and return its folder. Nothing is there before it is whole.

    Sources are tried in order: each address of the archive, then the hub. A download that was cut off goes on where it
    stopped, in the same call and in the next.

    Raises:
        DataError: every source failed; with what happened at each.
    """
    if os.environ.get("BENCH_OFFLINE"):
        raise DataError(f"dataset {entry.name!r} is not on this machine, and BENCH_OFFLINE forbids to download it")
    failures: list[str] = []
    if entry.archive is not None:
        try:
            return fetch_archive(entry.archive, root)
        except DataError as error:
            failures.append(str(error))
    if entry.hub is not None:
        from bench.data.hub import fetch_hub

        try:
            return fetch_hub(entry.hub, root / entry.name)
        except DataError as error:
            failures.append(str(error))
    raise DataError(f"dataset {entry.name!r} could not be downloaded:\n" + "\n".join(failures))


def fetch_archive(archive: Archive, root: Path) -> Path:
    """Download, check and unpack an archive; return the folder of its dataset.

    Raises:
        DataError: no address gave an archive that is whole, or it does not hold the dataset.
    """
    from filelock import FileLock

    folder = root / archive.folder
    parts = root / ".parts"
    parts.mkdir(parents=True, exist_ok=True)
    top = PurePosixPath(archive.folder).parts[0]
    with FileLock(parts / f"{top}.lock"):
        if is_dataset(folder):  # another process was faster
            return folder
        if (root / top).exists():
            raise DataError(
                f"{root / top}: is there, but holds no dataset {archive.folder}: remove it, to download it anew"
            )
        part = parts / f"{top}.zip"
        download(archive, part)
        try:
            with new_folder(root / top) as temporary:
                _unpack(part, temporary, top)
                if not is_dataset(temporary.joinpath(*PurePosixPath(archive.folder).parts[1:])):
                    raise DataError(f"{part.name}: the archive holds no dataset in its folder {archive.folder!r}")
        except DataError:
            part.unlink(missing_ok=True)
            raise
        part.unlink()
    return folder


def download(archive: Archive, part: Path) -> None:
    """Download an archive to the file `part`, going on where an earlier download stopped, and check it.

    Raises:
        DataError: every address failed; with what happened at each.
    """
    failures: list[str] = []
    for url in archive.urls:
        resumed = part.exists()
        problem = _try_address(url, archive, part)
        if problem and resumed and not part.exists():
            problem = _try_address(url, archive, part)  # what was left here may have been of another version
        if not problem:
            return
        failures.append(f"{url}: {problem}")
    raise DataError("\n".join(failures) or "the catalogue names no address for this archive")


def _try_address(url: str, archive: Archive, part: Path) -> str:
    """Download from one address; return what went wrong, or an empty string. A file that fails its check is removed."""
    most, idle = _size(part), 0
    while True:
        try:
            _receive(url, part)
            break
        except _Broken as error:
            idle = 0 if _size(part) > most else idle + 1
            most = max(most, _size(part))
            if idle == ATTEMPTS or error.final:
                return str(error)
    problem = _check(archive, part)
    if problem:
        part.unlink(missing_ok=True)
    return problem


def _receive(url: str, part: Path) -> None:
    """Append what is missing of a file, or all of it where the server cannot go on in the middle."""
    have = _size(part)
    if not url.startswith(("http://", "https://")):
        raise _Broken("not an http or https address", final=True)
    headers = {"User-Agent": "adaptbench"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS) as answer:
            if have and (answer.status != 206 or not _starts_at(answer.headers.get("Content-Range"), have)):
                have = 0
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length else None
            with part.open("ab" if have else "wb") as stream:
                while chunk := answer.read(_CHUNK):
                    stream.write(chunk)
                    have += len(chunk)
                    _show(url, have, total)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is missing; the check decides whether it is the file
            return
        raise _Broken(f"the server answered {error.code} {error.reason}", final=error.code < 500) from error
    except http.client.IncompleteRead as error:
        with part.open("ab") as stream:
            stream.write(error.partial)
        raise _Broken(f"the connection ended after {part.stat().st_size} bytes") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _Broken(f"{type(error).__name__}: {getattr(error, 'reason', None) or error}") from error
    if total is not None and have < total:
        raise _Broken(f"the connection ended after {have} of {total} bytes")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _starts_at(content_range: str | None, position: int) -> bool:
    return bool(content_range) and str(content_range).removeprefix("bytes ").partition("-")[0].strip() == str(position)


def _show(url: str, have: int, total: int | None) -> None:
    """Show progress on a terminal; elsewhere a download says nothing until it ends."""
    if not sys.stderr.isatty():
        return
    share = f"{have / total:4.0%}" if total else f"{have / 1e6:.0f} MB"
    sys.stderr.write(f"\rdownloading {url.rpartition('/')[2]} {share}" + ("\n" if have == total else ""))
    sys.stderr.flush()


def _check(archive: Archive, part: Path) -> str:
    """Return what is wrong with a downloaded file, or an empty string."""
    size = _size(part)
    if archive.bytes and size != archive.bytes:
        return f"expected {archive.bytes} bytes, received {size}"
    if archive.md5:
        with part.open("rb") as stream:
            found = hashlib.file_digest(stream, "md5").hexdigest()
        if found != archive.md5:
            return f"wrong checksum: expected MD5 {archive.md5}, found {found}"
    if not zipfile.is_zipfile(part):
        return f"not a whole ZIP archive ({size} bytes)"
    return ""


def _unpack(path: Path, target: Path, top: str) -> None:
    """Unpack what lies in the archive's folder `top` into `target`: plain files and folders, nothing outside of it.

    Raises:
        DataError: a name leads out of the archive or is a link, the disk is too small, a file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [(member, _inside(path, member, top)) for member in archive.infolist()]
            needed = sum(member.file_size for member, inner in members if inner is not None)
            if needed > (free := shutil.disk_usage(target).free):
                raise DataError(f"{path.name}: unpacking needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
            for member, inner in members:
                if inner is None or member.is_dir():
                    continue
                place = target / inner
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, place.open("wb") as stream:
                    shutil.copyfileobj(source, stream, _CHUNK)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path.name}: damaged archive: {error}") from error


def _inside(path: Path, member: zipfile.ZipInfo, top: str) -> PurePosixPath | None:
    """Return a member's place below the folder `top`, None where it lies elsewhere in the archive."""
    name = PurePosixPath(member.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
        raise DataError(f"{path.name}: unsafe archive: {member.filename!r} leads out of its folder")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise DataError(f"{path.name}: unsafe archive: {member.filename!r} is a link")
    if name.parts[0] != top or len(name.parts) < 2:
        return None
    return PurePosixPath(*name.parts[1:])
