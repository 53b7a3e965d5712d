from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd
import pytest

from bench.data.tables import read_table
from bench.errors import DataError


def cells(path: Path, **kwargs: str) -> list[dict[str, object]]:
    return [dict(row.cells) for row in read_table(path, **kwargs).rows()]


def test_a_spreadsheet_export_with_its_quirks(tmp_path: Path) -> None:
    path = tmp_path / "faq.csv"
    path.write_bytes(
        b"\xef\xbb\xbfQuestion ,Answer,,\r\n"
        b'"How do I ""reset"" it?","Hold the button,\r\nthen wait.",,\r\n'
        b",,,\r\n"
        b"Where is it?,Behind\xc2\xa0the door,,\r\n"
    )
    table = read_table(path)
    assert table.columns == ("Question", "Answer")
    first, second = table.rows()
    assert first.text("Question") == 'How do I "reset" it?'
    assert first.text("Answer") == "Hold the button,\nthen wait."
    assert (first.where, second.where) == (f"{path}:2", f"{path}:5")
    assert second.text("Answer") == "Behind the door"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "q;a\nx;y\n"),
        ("a.csv", "sep=;\nq;a\nx;y\n"),
        ("a.csv", "q\ta\nx\ty\n"),
        ("a.csv", "q|a\r\nx|y\r\n"),
        ("a.csv", '"q","a"\n"x","y"'),
        ("a.tsv", "q\ta\nx\ty\n"),
        ("a.tsv", '"q"\ta\n"x"\t"y"\n'),
    ],
)
def test_the_delimiter_is_found(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content, newline="")
    assert cells(path) == [{"q": "x", "a": "y"}]


def test_excels_unicode_text_is_utf_16(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("q\ta\nwörd\t\u201cquoted\u201d\n", encoding="utf-16")
    assert cells(path) == [{"q": "wörd", "a": "\u201cquoted\u201d"}]


def test_stray_quotes_between_tabs_are_characters(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('q\ta\nhow long is 6" pipe\t"six" inches\n5" too\tyes\n')
    assert cells(path) == [{"q": 'how long is 6" pipe', "a": '"six" inches'}, {"q": '5" too', "a": "yes"}]


def test_failed_formulas_are_empty_cells(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("q,a\n#N/A,y\nx,_x000D_y\n")
    first, second = read_table(path).rows()
    assert first.texts("q") == []
    assert second.text("a") == "y"


@pytest.mark.parametrize(
    ("name", "content", "where", "what"),
    [
        ("a.csv", b"q,a\nx,y\nhow, many,cells\n", "a.csv:3", "3 cells, but 2 columns"),
        ("a.csv", b'q,a\nx,y\nx,"never closed\nz\n', "a.csv:3", "a quote that is not closed"),
        ("a.csv", b"q,a\nx,caf\xe9\n", "a.csv:2", "not utf-8; save the file as UTF-8"),
        ("a.csv", b"", "a.csv", "the table is empty"),
        ("a.csv", b"q,q\nx,y\n", "a.csv:1", "columns of the same name: q"),
        ("a.jsonl", b'{"q": 1}\n{"q": \n', "a.jsonl:2", "not JSON"),
        ("a.parquet", b"PAR", "a.parquet", "not a Parquet file"),
        ("a.xlsx", b"PK", "a.xlsx", "save the sheet as CSV"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, name: str, content: bytes, where: str, what: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        cells(path)
    assert where in str(caught.value)
    assert what in str(caught.value)


def test_another_encoding_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("q,a\nx,caf\u00e9 \u2013 na\u00efve\n".encode("cp1252"))
    assert cells(path, encoding="cp1252") == [{"q": "x", "a": "caf\u00e9 \u2013 na\u00efve"}]
    with pytest.raises(DataError, match="unknown encoding"):
        cells(path, encoding="klingon")


def test_parquet_and_json_lines_may_hold_lists(tmp_path: Path) -> None:
    frame = pd.DataFrame({"query": ["x", "y"], "pos": [["a", "b"], ["c"]], "score": [1.0, None]})
    frame.to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text('{"query": "x", "pos": ["a", "b"]}\n{"query": "y", "pos": "c", "extra": null}\n')
    for name in ("a.parquet", "a.jsonl"):
        rows = list(read_table(tmp_path / name).rows())
        assert [row.texts("pos") for row in rows] == [["a", "b"], ["c"]]


def test_a_cell_that_looks_like_code_raises_no_warning_of_the_compiler(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("query,pos\nx,[1if 2else 3]\ny,\"['a', 'b']\"\n")
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        assert [row.texts("pos") for row in read_table(path).rows()] == [["[1if 2else 3]"], ["a", "b"]]
    assert raised == []


def test_columns_are_found_by_name_or_by_their_usual_names(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Best Answer,QUESTION\nx,y\n")
    table = read_table(path)
    assert table.column(None, ("query", "question"), "question") == "QUESTION"
    assert table.column("Best Answer", (), "answer") == "Best Answer"
    with pytest.raises(DataError, match=r"no column 'Best Anser', did you mean 'Best Answer'\?"):
        table.column("Best Anser", (), "answer")
    with pytest.raises(DataError, match=r"no column for the passage.*Columns: Best Answer, QUESTION"):
        table.column(None, ("passage",), "passage")
