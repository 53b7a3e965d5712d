"""Packed runs: the records of a run in one archive, `records.tar.xz`, for a checkout or a download.

The archive holds `run.json`, `fits/`, `cells/`, `tuning/` and `answers/` as a run leaves them. A reader unpacks it into
a temporary folder, once a process. Nothing is written into a packed run.
"""

from __future__ import annotations

import io
import lzma
import tarfile
import tempfile
from functools import cache
from pathlib import Path

from bench.data.bounded import most_bytes, require_ratio
from bench.errors import StoreError
from bench.scratch import PREFIX, owner

ARCHIVE = "records.tar.xz"


def pack(folder: Path, archive: Path) -> None:
    """Write all files of a folder into an archive. The same files give the same bytes."""
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                member = tar.gettarinfo(path, path.relative_to(folder).as_posix())
                member.mtime, member.mode = 0, 0o644
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                with path.open("rb") as stream:
                    tar.addfile(member, stream)


def records_folder(folder: Path) -> Path:
    """Return the folder that holds the records of a run: the run's own, or for a packed run a temporary copy.

    Raises:
        StoreError: the archive is damaged.
    """
    archive = folder / ARCHIVE
    if not archive.is_file():
        return folder
    changed = archive.stat()
    return Path(_unpacked(archive.resolve(), changed.st_mtime_ns, changed.st_size).name)


@cache
def _unpacked(archive: Path, changed_ns: int, size: int) -> tempfile.TemporaryDirectory[str]:
    """Return the temporary copy of one version of an archive; it is removed when the process ends."""
    copy = tempfile.TemporaryDirectory(prefix=f"{PREFIX}{owner()}-")
    try:
        content = _decompressed(archive.read_bytes())  # as a whole, so that its checksum is compared
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            tar.extractall(copy.name, filter="data")
    except (tarfile.TarError, lzma.LZMAError, EOFError, ValueError, OSError) as error:
        raise StoreError(f"{archive} is damaged ({error}): fetch it again") from error
    return copy


def _decompressed(packed: bytes) -> bytes:
    """Return the content of an xz file.

    Raises:
        RatioError: it unpacks to more than records do.
        EOFError: the file is cut.
    """
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    content = decompressor.decompress(packed, most_bytes(len(packed)) + 1)
    require_ratio(len(packed), len(content))
    if not decompressor.eof:
        raise EOFError("it is cut short")
    return content


def require_unpacked(folder: Path) -> None:
    """Refuse to write into a packed run.

    Raises:
        StoreError: the run is packed; the message says how to unpack it.
    """
    archive = folder / ARCHIVE
    if archive.is_file():
        raise StoreError(
            f"{folder} is packed and cannot be written into: name another folder (--out), or unpack it with "
            f"`tar -xJf {archive} -C {folder}` and delete {archive}"
        )
