"""Archives and Parquet files with odd or damaged parts."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from bench.data.download import _unpack
from bench.data.tables import read_table
from bench.errors import DataError


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as stream:
        for name in names:
            stream.writestr(name, b"content " * 50)
    return path


@pytest.mark.parametrize("name", [".", "./", "toy/.", "toy/./a.txt", "./.", "toy//b.txt"])
def test_members_that_name_a_folder_are_no_files(name: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    _unpack(archive(tmp_path / "a.zip", name, "toy/corpus.jsonl"), tmp_path / "out", "toy")
    assert (tmp_path / "out" / "corpus.jsonl").is_file()


@pytest.mark.parametrize("name", ["../a", "toy/../../a", "/etc/a", "C:/a", "toy/..\\..\\a"])
def test_members_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="leads out of its folder"):
        _unpack(archive(tmp_path / "a.zip", name), tmp_path / "out", "toy")


@pytest.mark.parametrize("at", range(40, 400, 30))
def test_damaged_deflate_is_an_error(at: int, tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", "toy/corpus.jsonl", "toy/queries.jsonl")
    content = bytearray(path.read_bytes())
    content[min(at, len(content) - 1)] ^= 0x55
    path.write_bytes(bytes(content))
    (tmp_path / "out").mkdir()
    problem = ""
    try:
        _unpack(path, tmp_path / "out", "toy")
    except DataError as error:
        problem = str(error)
    assert not problem or "a.zip" in problem


def parquet() -> bytes:
    import pyarrow
    import pyarrow.parquet

    stream = io.BytesIO()
    rows = [{"question": f"q{n}", "answer": f"answer {n}" * 20} for n in range(200)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), stream, compression="snappy", row_group_size=50)
    return stream.getvalue()


def test_a_parquet_file_with_damaged_pages_is_an_error_that_names_the_row(tmp_path: Path) -> None:
    content = parquet()
    refused: list[str] = []
    path = tmp_path / "a.parquet"
    for at in range(4, len(content) - 8, 97):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        try:
            list(read_table(path).rows())
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > 3 and all(error.startswith(str(path)) for error in refused)
