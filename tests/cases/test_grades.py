"""Grades written as `1.0`, and what is no grade."""

from __future__ import annotations

import pytest

from bench.errors import DataError
from tests.cases.conftest import write_qrels
from tests.cases.folders import DOCUMENTS, QUESTIONS, Make, Read


@pytest.mark.parametrize("grade", ["1.0", "1", "1e0", "+1", " 1 ", "1.000"])
def test_whole_grades_may_be_written_with_a_point(grade: str, make_dataset: Make, read_folder: Read) -> None:
    folder = make_dataset(DOCUMENTS, QUESTIONS)
    write_qrels(folder / "qrels" / "test.tsv", [("q0", "d0", grade)])
    assert read_folder(folder).splits["test"] == {"q0": {"d0": 1}}


@pytest.mark.parametrize(
    "grade", ["0.5", "nan", "inf", "1e400", "\u00b2", "\u0661", "9" * 5000, "2147483648", "", "0x1"]
)
def test_other_grades_are_errors_with_their_line(grade: str, make_dataset: Make, read_folder: Read) -> None:
    folder = make_dataset(DOCUMENTS, QUESTIONS)
    write_qrels(folder / "qrels" / "test.tsv", [("q0", "d0", grade)])
    with pytest.raises(DataError, match=r"test.tsv:2: grade .* is not an integer"):
        read_folder(folder)
