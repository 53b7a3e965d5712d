"""Small archives that unpack to very much are refused; so are members with odd names, and damaged streams."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from bench.data import bounded
from bench.data.download import _unpack
from bench.data.lines import read_lines
from bench.errors import BenchError, DataError, StoreError
from bench.retrieval.ranking import read_trec
from bench.store.packed import ARCHIVE, records_folder

SIZE = 40 * 1024**2


def test_a_zip_bomb_is_refused_and_a_usual_archive_is_not(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("top/corpus.jsonl", b"0" * SIZE)
    with pytest.raises(DataError, match=r"unsafe archive: .* unpack to"):
        _unpack(path, tmp_path / "out", "top")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("top/corpus.jsonl", b"0" * 100_000)
    _unpack(path, tmp_path, "top")
    assert (tmp_path / "corpus.jsonl").stat().st_size == 100_000


def test_a_member_that_names_the_folder_itself_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "dot.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in (".", "./", "top/a"):
            archive.writestr(name, b"")
    _unpack(path, tmp_path, "top")
    assert (tmp_path / "a").exists()


def test_a_flipped_bit_in_an_archive_is_a_data_error_or_the_same_content(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("top/a", b"some text that is packed")
    whole, path = buffer.getvalue(), tmp_path / "x.zip"
    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        folder = tmp_path / str(bit)
        folder.mkdir()
        try:
            _unpack(path, folder, "top")
        except BenchError:
            continue
        written = [file.read_bytes() for file in folder.rglob("*") if file.is_file()]
        assert written in ([], [b"some text that is packed"]), bit


@pytest.mark.parametrize("line", [b"0" * SIZE, b"0\n" * (SIZE // 2)])
def test_a_gzip_bomb_is_refused_before_it_fills_the_memory(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "corpus.jsonl.gz"
    path.write_bytes(gzip.compress(line))
    with pytest.raises(DataError, match="unpack to"):
        list(read_lines(path))
    with pytest.raises(DataError):
        read_trec(path)


def test_an_xz_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("run.json")
        member.size = SIZE
        tar.addfile(member, io.BytesIO(b"0" * SIZE))
    (tmp_path / ARCHIVE).write_bytes(lzma.compress(buffer.getvalue(), preset=0))
    with pytest.raises(StoreError, match="unpack to"):
        records_folder(tmp_path)
    monkeypatch.setattr(bounded, "FREE_BYTES", 10**9)
    assert (records_folder(tmp_path) / "run.json").stat().st_size == SIZE
